#include "hv/x86/pv/device_write.hpp"

#include "arch/domain.hpp"
#include "hv/x86/arch/cpu.hpp"
#include "hv/x86/boot/memory_map.hpp"
#include "hv/x86/cpu/segment_base.hpp"
#include "hv/x86/emulate/execute.hpp"
#include "hv/x86/pv/code_bytes.hpp"
#include "hv/x86/pv/debug_registers.hpp"
#include "hv/x86/pv/mmu.hpp"

namespace hv::pv {
namespace {

using emulate::Segment;

/// The page at an address, which takes what is written and stays as it is. Whoever also reads is
/// refused: reading may have an effect on a device, and the answer could not be trusted.
class ReadOnlyDevice {
  public:
    explicit ReadOnlyDevice(uint64_t linear) : page_(linear & kPageMask) {}

    Result<uint64_t> read(uint64_t, unsigned) { return Errno::kEOPNOTSUPP; }
    Result<> write(uint64_t linear, uint64_t, unsigned size) {
        if (linear < page_ || linear + size > page_ + kPageSize) return Errno::kEOPNOTSUPP;
        return {};
    }
    Result<bool> compare_exchange(uint64_t, uint64_t, uint64_t, unsigned) {
        return Errno::kEOPNOTSUPP;
    }
    uint64_t segment_base(Segment segment) {
        if (segment == Segment::kFs) return cpu::read_fs_base();
        if (segment == Segment::kGs) return cpu::read_gs_base();
        return 0;
    }

  private:
    uint64_t page_;
};
static_assert(emulate::GuestMemory<ReadOnlyDevice>);

bool is_read_only_device(const Vcpu& vcpu, uint64_t linear) {
    const paging::Entry* slot = find_leaf(vcpu, linear);
    if (!slot || !slot->present() || slot->writable() || boot::is_ram(slot->mfn())) return false;
    return arch::device_access(*vcpu.domain, slot->mfn()) == arch::DeviceAccess::kReadOnly;
}

}  // namespace

bool drop_device_write(arch::Registers& regs, uint64_t cr2) {
    if (regs.cs != FLAT_RING3_CS64 || !is_read_only_device(arch::current(), cr2)) return false;
    CodeBytes code(regs.rip);
    const auto instruction = code.decode();
    if (!instruction.ok()) return false;
    ReadOnlyDevice device(cr2);
    if (!emulate::execute(*instruction, regs, device).ok()) return false;
    after_instruction(arch::current(), regs);
    return true;
}

}  // namespace hv::pv

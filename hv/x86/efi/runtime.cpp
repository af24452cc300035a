#include "hv/x86/efi/runtime.hpp"

#include "arch/cpu.hpp"
#include "arch/memory.hpp"
#include "base/lock.hpp"
#include "hv/console/log.hpp"
#include "hv/domain/domain.hpp"
#include "hv/lock_rank.hpp"
#include "hv/memory/allocator.hpp"
#include "hv/x86/cpu/fpu.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/paging/flush.hpp"
#include "hv/x86/paging/host.hpp"

namespace hv::efi {
namespace {

// The services may not be entered twice (UEFI 8.1).
SpinLock firmware_lock{static_cast<uint8_t>(Rank::kFirmware)};
Mfn firmware_l4 = kInvalidMfn;
const RuntimeServices* services;  // at its machine address: in firmware_l4 only

Result<Mfn> take_table() {
    return memory::alloc_frames(0);
}

/// Code may be written to, unless the firmware says that it need not be: much firmware has its
/// variables between its functions (UEFI 2.6 and later mark them in descriptors of their own).
uint64_t flags_of(const MemoryDescriptor& d) {
    using paging::Entry;
    uint64_t flags = (paging::kData | Entry::kLarge) & ~(Entry::kGlobal | Entry::kNoExecute);
    if (d.type != kRuntimeCode || d.attributes & kNotExecutable) flags |= Entry::kNoExecute;
    if (d.attributes & kReadOnly) flags &= ~(Entry::kWrite | Entry::kDirty);
    if (!(d.attributes & kWriteBack)) flags |= Entry::kCacheDisable | Entry::kWriteThrough;
    return flags;
}

/// The user half of the address space is the firmware's; the other one the hypervisor's as ever.
Result<> map_firmware(paging::Entry* l4, std::span<const MemoryDescriptor> map) {
    constexpr uint64_t kEnd = uint64_t{1} << 47;
    for (const MemoryDescriptor& d : map) {
        if (!(d.attributes & kRuntimeAttribute) || !d.pages) continue;
        if (d.physical_start % kPageSize || d.physical_start >= kEnd ||
            d.pages > (kEnd - d.physical_start) / kPageSize)
            return Errno::kEINVAL;
        TRY(paging::map_in(l4, take_table, d.physical_start, d.physical_start, d.pages * kPageSize,
                           flags_of(d)));
    }
    return {};
}

/// The firmware's address space, until the end of the scope. Interrupts are off.
class FirmwareMapped {
  public:
    FirmwareMapped() : before_(cpu::read_cr3()) {
        cpu::write_cr3(address_of(firmware_l4));
        // A guest's global entries for the same addresses must not be met.
        arch::flush_tlb_local();
    }
    ~FirmwareMapped() { cpu::write_cr3(before_); }  // nothing of the firmware's is global
    FirmwareMapped(const FirmwareMapped&) = delete;

  private:
    uint64_t before_;
};

/// The FPU as the firmware wants it (UEFI 2.3.4), the vCPU's registers put aside.
class FirmwareFpu {
  public:
    FirmwareFpu() {
        arch::fpu::save(vcpu_);  // leaves CR0.TS clear
        constexpr uint32_t kMxcsr = 0x1f80;
        constexpr uint16_t kControlWord = 0x37f;
        asm volatile("fninit; fldcw %0; ldmxcsr %1" ::"m"(kControlWord), "m"(kMxcsr));
    }
    ~FirmwareFpu() { arch::fpu::restore(vcpu_); }
    FirmwareFpu(const FirmwareFpu&) = delete;

  private:
    Vcpu& vcpu_ = arch::current();
};

}  // namespace

Result<uint32_t> open_runtime(uint64_t address, std::span<const MemoryDescriptor> map) {
    const Mfn l4 = TRY(take_table());
    auto* entries = arch::mfn_to_virt<paging::Entry>(l4);
    arch::clear_page(l4);
    paging::fill_hypervisor_slots(entries, kInvalidMfn);
    TRY(map_firmware(entries, map));

    firmware_l4 = l4;
    const auto* table = reinterpret_cast<const RuntimeServices*>(address);
    LockGuard guard(firmware_lock);
    FirmwareMapped mapped;
    if (table->header.signature != kRuntimeSignature ||
        table->header.header_size < offsetof(RuntimeServices, query_variable_info))
        return Errno::kEINVAL;
    services = table;
    return table->header.revision;
}

Status detail::call_runtime(Status (*call)(const RuntimeServices&, void*), void* argument) {
    LockGuard guard(firmware_lock);
    FirmwareFpu fpu;
    FirmwareMapped mapped;
    return call(*services, argument);
}

}  // namespace hv::efi

#include "hv/x86/pv/pte_write.hpp"

#include "arch/guest_memory.hpp"
#include "hv/console/log.hpp"
#include "hv/x86/arch/cpu.hpp"
#include "hv/x86/cpu/segment_base.hpp"
#include "hv/x86/emulate/execute.hpp"
#include "hv/x86/pv/code_bytes.hpp"
#include "hv/x86/pv/debug_registers.hpp"
#include "hv/x86/pv/mmu.hpp"
#include "hv/x86/pv/trace.hpp"

namespace hv::pv {
namespace {

using emulate::Segment;
using emulate::size_mask;

constexpr uint64_t kEntryBytes = 8;

/// The guest's memory, where what is written are entries of page tables. A write narrower than an
/// entry changes a part of it; one that crosses two entries is not possible in one update.
class PageTableMemory {
  public:
    Result<uint64_t> read(uint64_t linear, unsigned size) {
        uint64_t value = 0;
        TRY(arch::copy_from_guest(&value, linear, size));
        return value;
    }

    /// A plain store: whatever the rest of the entry is at that moment, it stays.
    Result<> write(uint64_t linear, uint64_t value, unsigned size) {
        if (size == kEntryBytes && linear % kEntryBytes == 0) return replace(linear, value);
        for (unsigned attempt = 0; attempt < emulate::kMaxTries; ++attempt) {
            uint64_t old = TRY(read(linear, size));
            if (TRY(compare_exchange(linear, old, value, size))) return {};
        }
        return Errno::kEAGAIN;
    }

    Result<bool> compare_exchange(uint64_t linear, uint64_t expected, uint64_t desired,
                                  unsigned size) {
        uint64_t entry = linear & ~(kEntryBytes - 1);
        auto shift = static_cast<unsigned>(8 * (linear - entry));
        if (linear - entry + size > kEntryBytes) return Errno::kEINVAL;
        uint64_t old = TRY(read(entry, kEntryBytes));
        uint64_t mask = size_mask(size) << shift;
        if ((old & mask) != expected << shift) return false;
        bool matched = false;
        TRY(write_pte_checked(entry, old, (old & ~mask) | (desired << shift), true, matched));
        return matched;
    }

    uint64_t segment_base(Segment segment) {
        if (segment == Segment::kFs) return cpu::read_fs_base();
        if (segment == Segment::kGs) return cpu::read_gs_base();
        return 0;
    }

  private:
    Result<> replace(uint64_t entry, uint64_t value) {
        bool matched;
        return write_pte_checked(entry, 0, value, false, matched);
    }
};
static_assert(emulate::GuestMemory<PageTableMemory>);

/// An entry that the guest may not have, or an instruction that is not known, is the guest's to
/// deal with; what a race with another vCPU caused solves itself when the instruction runs again.
bool should_run_again(Errno error) {
    return error == Errno::kEAGAIN || error == Errno::kEFAULT || error == Errno::kERESTART;
}

void note_in_trace(uint64_t address, uint64_t rip) {
    if (!trace::is_on()) [[likely]]
        return;
    uint64_t entry = 0;  // stays so if it has become unreadable meanwhile
    (void)arch::copy_from_guest(&entry, address, sizeof entry);
    trace_event::table_write(address, entry, rip);
}

}  // namespace

bool emulate_pte_write(arch::Registers& regs, uint64_t cr2) {
    if (regs.cs != FLAT_RING3_CS64 || !is_page_table_address(cr2 & ~(kEntryBytes - 1)))
        return false;
    CodeBytes code(regs.rip);
    auto instruction = code.decode();
    if (!instruction.ok()) return should_run_again(instruction.error());

    PageTableMemory memory;
    auto progress = emulate::execute(*instruction, regs, memory);
    if (progress.ok()) {
        note_in_trace(cr2 & ~(kEntryBytes - 1), regs.rip);
        after_instruction(arch::current(), regs);
        return true;
    }
    if (should_run_again(progress.error())) return true;
    guest_log(LogLevel::kInfo, "write to a page table at {:x} by {:x} refused: error {}", cr2,
              regs.rip, progress.error());
    return false;
}

}  // namespace hv::pv

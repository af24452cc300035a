// Direct writes to page tables: they are mapped read-only, the write faults, and is carried out
// here through the checks of an mmu_update (TRAPS.md: Linux writes entries this way, also with
// byte-wide instructions, whatever its feature note says).
#pragma once

#include "arch/vcpu.hpp"

namespace hv::pv {

/// From a write fault at `cr2` in the current vCPU's kernel mode. True: done, or to be run again;
/// go back to the guest. False: it is not a write to a page table, or not one that can be
/// emulated or permitted: the guest gets the #PF.
bool emulate_pte_write(arch::Registers& regs, uint64_t cr2);

}  // namespace hv::pv

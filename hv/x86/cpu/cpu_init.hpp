// Bringing a CPU to the state the hypervisor runs in.
#pragma once

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::cpu {

/// Allocates and maps the CPU's area (stack, GDT, TSS, SYSCALL stubs); the stack's top. kENOMEM.
Result<void*> prepare_cpu_stack(CpuId cpu);

/// On the CPU itself, on its own stack, with the hypervisor's page tables loaded: descriptor
/// tables, control registers, MSRs.
void init_this_cpu(CpuId cpu);

/// CR4 as the hypervisor wants it, whatever the guest on this CPU has chosen.
uint64_t own_cr4();

/// CR3 of the page tables that hold the hypervisor and nothing else; an AP starts with them.
uint64_t idle_cr3();

}  // namespace hv::cpu

// Reading the machine; apart from policy.cpp so that host tests can feed other machines.
#pragma once

#include "hv/x86/cpu/policy.hpp"

namespace hv::arch::cpu_policy {

/// The raw policy of this CPU.
CpuPolicy detect();
/// Makes CPUID fault outside ring 0 on this CPU, if `host` says that it can.
void enable_cpuid_faulting(const CpuPolicy& host);

}  // namespace hv::arch::cpu_policy

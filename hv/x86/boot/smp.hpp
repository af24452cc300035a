// Starting the machine's other CPUs.
#pragma once

#include "hv/limits.hpp"

namespace hv::boot {

/// Numbers the CPUs of the MADT (the boot CPU is 0) and starts each, up to `maxcpus=`, unless
/// `nosmp`. Boot CPU, once everything a CPU needs to idle stands: memory, local APIC, clock,
/// scheduler. A CPU that does not answer is named in a warning and left out.
void start_other_cpus();

/// The highest CpuId that the firmware lists, started or not; and how it names each.
CpuId highest_present_cpu();
struct CpuNames {
    uint32_t apic_id;
    uint32_t acpi_id;
    uint8_t node;  ///< NUMA node; 0 until the CPUs are numbered
};
/// `cpu` at most highest_present_cpu().
CpuNames cpu_names(CpuId cpu);

}  // namespace hv::boot

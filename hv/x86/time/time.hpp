// Bringing time up, as the boot code calls it, in this order.
#pragma once

#include "hv/limits.hpp"

namespace hv::time {

/// On the boot CPU, with interrupts off, after acpi::init() and lapic::init_cpu(): finds the
/// platform timer, measures TSC and APIC timer against it (10 ms), reads the RTC. now() and
/// program_timer() work from then on.
void init();

/// Before the first guest runs, after timers_init(): once softirqs are processed the TSC's rate is
/// settled by all the time that has passed since init(), then corrected once a second.
void start_correction();

/// Compares the TSCs of two CPUs for a moment: the CPU that has come up calls the first, the one
/// that waits for it the second, at about the same time. A CPU that does not show up within 100 ms
/// is not waited for. Without all CPUs compared, guests are not told that TSCs are in step.
void compare_tsc_as_newcomer(CpuId cpu);
void compare_tsc_with(CpuId newcomer);

/// Whether guests may compare time stamps of different CPUs: the TSC runs at a constant rate in
/// all power states, and no CPU has been seen out of step.
bool tsc_is_stable();

/// Ticks of the APIC timer in a millisecond.
uint32_t apic_timer_khz();
void set_apic_timer_khz(uint32_t khz);

}  // namespace hv::time

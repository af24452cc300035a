// What the architecture owes the scheduler and the guests: a clock and one timer for each CPU.
#pragma once

#include "hv/limits.hpp"

namespace hv {
struct Vcpu;
struct Domain;
namespace arch {

/// System time: nanoseconds since boot, the same on all CPUs, never backwards.
Nanoseconds now();

/// The CPU's cycle counter, for time stamps in traces: what tools expect there (the TSC).
inline uint64_t cycles() {
    return __builtin_ia32_rdtsc();
}

/// Arms this CPU's timer interrupt for `deadline` (system time); kNever disarms it.
void program_timer(Nanoseconds deadline);
inline constexpr Nanoseconds kNever = INT64_MAX;

/// Writes `vcpu`'s time page (vcpu_time_info) if its CPU's scale has changed; on every switch in.
void update_vcpu_time(Vcpu& vcpu);
/// Writes the wall clock of `domain`'s shared info.
void update_domain_wallclock(Domain& domain);
/// Sets the machine's wall clock: `seconds`.`nanoseconds` since 1970 were at `system_time`.
void set_wallclock(uint64_t seconds, uint32_t nanoseconds, Nanoseconds system_time);

uint64_t tsc_khz();

}  // namespace arch
}  // namespace hv

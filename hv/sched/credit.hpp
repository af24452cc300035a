// The arithmetic of the credit policy, apart from queues, so that it can be tested by itself.
//
// A vCPU's credit is the CPU time it is owed, in ns. What vCPUs run is taken from theirs and given,
// by weight, to all who want to run: that is the share clock, which each follows when it is looked
// at. Nobody can use more than one CPU, so what a heavy weight brings beyond that goes round again.
// On each CPU the vCPU with the most credit runs; CPUs compare with each other once a slice. So
// vCPUs get equal shares also where their number is no multiple of the CPUs'.
#pragma once

#include <algorithm>

#include "hv/limits.hpp"

namespace hv::sched::credit {

inline constexpr uint32_t kDefaultWeight = 256;
inline constexpr unsigned kShareShift = 12;  ///< the share clock counts 2^-12 ns for each weight 1

struct Account {
    Nanoseconds credit = 0;
    uint64_t share_seen = 0;     ///< the share clock when it was last looked at
    Nanoseconds paid_up_to = 0;  ///< system time up to which one CPU's time has been given

    /// What of a payment did not get into the account, in ns.
    struct Left {
        Nanoseconds unpaid;   ///< nobody can use more than one CPU
        Nanoseconds surplus;  ///< credit beyond the bound
    };

    /// Pays out what the share clock has given since; credit stays within `bound`. The share clock
    /// advances in leaps, so time that brought nothing may be paid for later, up to `bound`.
    Left earn(uint64_t share_clock, uint32_t weight, Nanoseconds now, Nanoseconds bound) {
        const uint64_t delta = share_clock - share_seen;
        share_seen = share_clock;
        // More than a bound's worth is never needed, and the product must not overflow.
        const uint64_t enough = (static_cast<uint64_t>(2 * bound) << kShareShift) / weight + 1;
        const auto given =
            static_cast<Nanoseconds>((std::min(delta, enough) * weight) >> kShareShift);
        paid_up_to = std::max(paid_up_to, now - bound);
        const Nanoseconds taken = std::min(given, std::max<Nanoseconds>(now - paid_up_to, 0));
        paid_up_to += taken;
        const Nanoseconds owed = credit + taken;
        credit = std::min(owed, bound);
        return {.unpaid = given - taken, .surplus = owed - credit};
    }
    /// Charges `ran` ns of running.
    void charge(Nanoseconds ran, Nanoseconds bound) { credit = std::max(credit - ran, -2 * bound); }
};

/// By how much the share clock advances when `time` is given to vCPUs of `total_weight`.
constexpr uint64_t share_of(Nanoseconds time, uint64_t total_weight) {
    return (static_cast<uint64_t>(time) << kShareShift) / total_weight;
}

}  // namespace hv::sched::credit

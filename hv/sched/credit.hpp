// The arithmetic of the credit policy, apart from queues, so that it can be tested by itself.
//
// A vCPU's credit is the CPU time it is owed, in ns. It falls while the vCPU runs and rises with
// the share clock, which distributes the time of all CPUs among the vCPUs that want to run, by
// weight. On each CPU the vCPU with the most credit runs; CPUs compare with each other once a
// slice. So vCPUs get equal shares also where their number is no multiple of the CPUs'.
#pragma once

#include <algorithm>

#include "hv/limits.hpp"

namespace hv::sched::credit {

inline constexpr uint32_t kDefaultWeight = 256;
inline constexpr unsigned kShareShift = 12;  ///< the share clock counts 2^-12 ns for each weight 1

struct Account {
    Nanoseconds credit = 0;
    uint64_t share_seen = 0;  ///< the share clock when it was last looked at

    /// Pays out what the share clock has distributed since; credit stays within `bound`.
    void earn(uint64_t share_clock, uint32_t weight, Nanoseconds bound) {
        const uint64_t delta = share_clock - share_seen;
        share_seen = share_clock;
        // More than a bound's worth is never needed, and the product must not overflow.
        const uint64_t enough = (static_cast<uint64_t>(2 * bound) << kShareShift) / weight + 1;
        const uint64_t earned = (std::min(delta, enough) * weight) >> kShareShift;
        credit = std::min(credit + static_cast<Nanoseconds>(earned), bound);
    }
    /// Charges `ran` ns of running.
    void charge(Nanoseconds ran, Nanoseconds bound) {
        credit = std::max(credit - ran, -2 * bound);
    }
};

/// By how much the share clock advances when `elapsed` ns of `cpus` CPUs are distributed.
constexpr uint64_t share_of(Nanoseconds elapsed, uint64_t cpus, uint64_t total_weight) {
    return (static_cast<uint64_t>(elapsed) * cpus << kShareShift) / total_weight;
}

}  // namespace hv::sched::credit

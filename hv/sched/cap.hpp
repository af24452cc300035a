// How much CPU time a domain may use at most, over all its vCPUs, in percent of one CPU.
//
// Time is cut into periods, the same for everybody; in each a domain may use its percentage. That
// is kept in one number, the moment up to which its time is used up: running for t moves it on by
// t * 100 / cap. A domain may run while that moment lies within the present period or before it.
//
//      period 7          period 8          period 9
//     |─────────────────|─────────────────|─────────────────|
//               now ^            used_up_to ^    may run again from the start of period 9 on
//
// What it used too much in one period is thus missing in the next ones. What it did not use it may
// make up for within kSaved, as others may have kept it from the CPU for some time slices. One
// atomic word: vCPUs of the domain run on several CPUs at once.
#pragma once

#include <algorithm>
#include <atomic>

#include "hv/limits.hpp"

namespace hv::sched {

class Cap {
  public:
    static constexpr Nanoseconds kPeriod = 10 * kMillisecond;
    static constexpr Nanoseconds kSaved = 10 * kPeriod;
    /// Nobody is stopped after less: that would cost more than it keeps back.
    static constexpr Nanoseconds kLeastSlice = 100 * kMicrosecond;

    /// In percent of one CPU; 0: none.
    uint16_t percent() const { return percent_.load(std::memory_order_relaxed); }
    void set(uint16_t percent) { percent_.store(percent, std::memory_order_relaxed); }

    /// A vCPU of the domain has run for `ran`, until `now`.
    void charge(Nanoseconds ran, Nanoseconds now) {
        const uint16_t cap = percent();
        if (!cap) return;
        begin_period(now);
        used_up_to_.fetch_add(ran * 100 / cap, std::memory_order_relaxed);
    }
    bool exhausted(Nanoseconds now) {
        return percent() && begin_period(now) >= start_of_period(now) + kPeriod;
    }
    /// How long one of `running` vCPUs may run from `now` on, if the others do as well.
    Nanoseconds slice(Nanoseconds now, unsigned running) {
        const Nanoseconds left = start_of_period(now) + kPeriod - begin_period(now);
        return std::max(left * percent() / (100 * std::max(running, 1u)), kLeastSlice);
    }
    /// When a domain that is exhausted may run again.
    Nanoseconds resumes() const {
        return start_of_period(used_up_to_.load(std::memory_order_relaxed));
    }

  private:
    static Nanoseconds start_of_period(Nanoseconds time) { return time - time % kPeriod; }
    /// What has not been used for long does not count. Returns used_up_to_.
    Nanoseconds begin_period(Nanoseconds now) {
        const Nanoseconds start = start_of_period(now) - kSaved;
        Nanoseconds used = used_up_to_.load(std::memory_order_relaxed);
        while (used < start &&
               !used_up_to_.compare_exchange_weak(used, start, std::memory_order_relaxed)) {
        }
        return std::max(used, start);
    }

    std::atomic<uint16_t> percent_{0};
    std::atomic<Nanoseconds> used_up_to_{0};
};

}  // namespace hv::sched

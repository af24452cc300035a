// Keeping the TSC's scale true: what the platform timer says over long times decides the rate.
//
// A reading of the platform timer is off by up to some microseconds, which is much in the 10 ms of
// the first calibration and nothing in a minute. So the rate is always measured from an anchor far
// back, and the small distance in time that has gathered is worked off by running a little fast or
// slow. Steps of the rate are limited: on its way to all CPUs, a change makes their clocks differ
// by step times delay, which must stay below a nanosecond for guests that compare them.
#pragma once

#include "hv/limits.hpp"
#include "hv/x86/time/platform_timer.hpp"

namespace hv::time {

class Discipline {
  public:
    static constexpr int64_t kLargestStep = 10'000;        ///< ppb each time
    static constexpr int64_t kLargestDetour = 10'000;      ///< ppb, to work off a distance
    static constexpr Nanoseconds kHorizon = 20 * kSecond;  ///< … in about this time
    static constexpr Nanoseconds kLongestBaseline = 1000 * kSecond;

    constexpr Discipline() = default;
    /// `sample` is the first reading, `rate` a first idea of the TSC's.
    Discipline(const PlatformTimer& timer, Sample sample, Rate rate)
        : timer_(timer), anchor_(sample), last_(sample), rate_(rate) {}

    /// The rate to go on with. `clock_ns`: what system time is at `sample.tsc`. The first call may
    /// step freely (no guest has seen the clock) and defines which distance is none.
    Rate feed(Sample sample, Nanoseconds clock_ns);

  private:
    /// Ticks of the platform timer since the last reading, however often it has wrapped: the
    /// multiple of its range that is nearest to what the TSC says.
    uint64_t ticks_since_last(Sample sample) const;

    PlatformTimer timer_{};
    Sample anchor_, last_;
    Rate rate_;
    uint64_t ticks_ = 0;         ///< of the platform timer since the anchor
    Nanoseconds anchor_ns_ = 0;  ///< what system time should have been at the anchor
    bool synchronised_ = false;
};

}  // namespace hv::time

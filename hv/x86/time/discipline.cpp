#include "hv/x86/time/discipline.hpp"

#include <algorithm>

namespace hv::time {

uint64_t Discipline::ticks_since_last(Sample sample) const {
    const uint64_t seen = (sample.count - last_.count) & timer_.mask();
    if (timer_.bits == 64) return seen;
    const uint64_t expected = timer_.to_ticks(Scale::of(rate_).to_ns(sample.tsc - last_.tsc));
    const uint64_t half = uint64_t{1} << (timer_.bits - 1);
    const uint64_t wraps = expected + half > seen ? (expected + half - seen) >> timer_.bits : 0;
    return seen + (wraps << timer_.bits);
}

Rate Discipline::feed(Sample sample, Nanoseconds clock_ns) {
    ticks_ += ticks_since_last(sample);
    last_ = sample;
    const uint64_t elapsed = timer_.to_ns(ticks_);
    if (elapsed == 0 || sample.tsc <= anchor_.tsc) return rate_;
    const Rate measured = Rate::of(elapsed, sample.tsc - anchor_.tsc);

    if (!synchronised_) {
        synchronised_ = true;
        anchor_ns_ = clock_ns - static_cast<Nanoseconds>(elapsed);
        return rate_ = measured;
    }
    const Nanoseconds ahead = clock_ns - (anchor_ns_ + static_cast<Nanoseconds>(elapsed));
    const Nanoseconds clamped = std::clamp(ahead, -kMillisecond, kMillisecond);
    const int64_t detour =
        std::clamp(clamped * kSecond / kHorizon, -kLargestDetour, kLargestDetour);
    const Rate wanted = measured.adjusted(-detour);
    rate_ = rate_.adjusted(std::clamp(wanted.ppb_above(rate_), -kLargestStep, kLargestStep));

    if (elapsed >= static_cast<uint64_t>(kLongestBaseline)) {
        anchor_ = sample;
        anchor_ns_ += static_cast<Nanoseconds>(elapsed);
        ticks_ = 0;
    }
    return rate_;
}

}  // namespace hv::time

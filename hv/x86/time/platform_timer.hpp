// The machine's reference clock: slow to read, but of a frequency that is known.
#pragma once

#include <cstdint>
#include <string_view>

#include "hv/x86/time/scale.hpp"

namespace hv::time {

struct PlatformTimer {
    std::string_view name;
    unsigned bits;          ///< the counter wraps at 2^bits
    uint64_t ns_numerator;  ///< n ticks last n * ns_numerator / ns_denominator ns
    uint64_t ns_denominator;
    uint64_t (*read)();  ///< counts up

    uint64_t mask() const { return bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }
    uint64_t to_ns(uint64_t ticks) const { return mul_div(ticks, ns_numerator, ns_denominator); }
    uint64_t to_ticks(uint64_t ns) const { return mul_div(ns, ns_denominator, ns_numerator); }
};

/// The best that the machine has: HPET, else the ACPI timer, else the PIT. After acpi::init().
PlatformTimer find_platform_timer();

/// A reading of a counter and of the TSC at the same moment, as near as can be had.
struct Sample {
    uint64_t tsc = 0;
    uint64_t count = 0;
};
template <class Read, class Tsc>
Sample take_sample(Read read, Tsc tsc, unsigned tries = 12) {
    // The less time between the two TSC readings, the better is it known when the counter was read.
    Sample best;
    uint64_t best_width = ~uint64_t{0};
    for (unsigned i = 0; i < tries; ++i) {
        const uint64_t before = tsc();
        const uint64_t count = read();
        const uint64_t width = tsc() - before;
        if (width >= best_width) continue;
        best_width = width;
        best = {before + width / 2, count};
    }
    return best;
}

}  // namespace hv::time

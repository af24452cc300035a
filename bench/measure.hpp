// How an operation is measured: 2,000 times, warm; the minimum and the median, less an empty pair
// of readings.
#pragma once

#include "print.hpp"
#include "test.hpp"
#include "xen.hpp"

extern "C" {
uint32_t time_hypercall(uint64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4);
uint32_t time_nothing();
extern volatile long last_result;
}

namespace guest {

constexpr unsigned kRounds = 2000;

struct Cost {
    uint32_t minimum, median;
};

/// Minimum and median of kRounds readings, which it sorts.
inline Cost summarise(uint32_t* samples) {
    // Shell sort: the median needs order, and 2,000 numbers need no more.
    for (unsigned gap = kRounds / 2; gap; gap /= 2)
        for (unsigned i = gap; i < kRounds; ++i)
            for (unsigned j = i; j >= gap && samples[j - gap] > samples[j]; j -= gap) {
                const uint32_t larger = samples[j - gap];
                samples[j - gap] = samples[j];
                samples[j] = larger;
            }
    return {samples[0], samples[kRounds / 2]};
}

/// Runs `operation`, which returns one reading, kRounds times after a few to warm up.
template <typename F>
Cost measure(F operation) {
    static uint32_t samples[kRounds];
    for (unsigned i = 0; i < 20; ++i) operation();
    for (uint32_t& sample : samples) sample = operation();
    return summarise(samples);
}

inline uint32_t empty_pair() {
    static const uint32_t cost = measure(time_nothing).minimum;
    return cost;
}

inline void report(const char* row, Cost cost, uint32_t base = 0, uint32_t divisor = 1) {
    print("BENCH %s %u %u %u\n", row, (cost.minimum - base + divisor / 2) / divisor,
          (cost.median - base + divisor / 2) / divisor, kRounds);
}

template <typename F>
Cost net(F operation) {
    const Cost gross = measure(operation);
    return {gross.minimum - empty_pair(), gross.median - empty_pair()};
}

}  // namespace guest

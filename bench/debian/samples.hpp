// Readings of the TSC around an operation, and what is told of them. Under QEMU's -icount with
// shift=0 the TSC counts the instructions of the whole machine, at 1 GHz.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace bench {

inline uint64_t tsc() {
    uint32_t low, high;
    asm volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high)::"memory");
    return uint64_t{high} << 32 | low;
}

/// One row's readings.
class Samples {
  public:
    explicit Samples(unsigned expected) { values_.reserve(expected); }

    void add(uint64_t instructions) { values_.push_back(instructions); }

    /// Runs `operation` that many times, each with a reading of its own.
    template <typename F>
    static Samples of(unsigned rounds, F operation) {
        Samples samples(rounds);
        for (unsigned i = 0; i < rounds; ++i) {
            const uint64_t start = tsc();
            operation(i);
            samples.add(tsc() - start);
        }
        return samples;
    }

    /// Prints "BENCH name minimum median samples"; the former two divided by `units`, such as the
    /// KiB of a reading.
    void print(const std::string& name, uint64_t units = 1) const;

  private:
    std::vector<uint64_t> values_;
};

/// Ends the program with the reason if a system call has failed (is negative).
long must(long result, const char* what);

}  // namespace bench

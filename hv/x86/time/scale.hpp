// Conversions between counters and nanoseconds, in integers.
#pragma once

#include <bit>
#include <cstdint>

namespace hv::time {

/// a * b / c with a product of 128 bits; the quotient must fit into 64. (The compiler would call
/// a library for the division.)
inline uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c) {
    uint64_t low, high, quotient, remainder;
    asm("mulq %3" : "=a"(low), "=d"(high) : "a"(a), "r"(b) : "cc");
    asm("divq %4" : "=a"(quotient), "=d"(remainder) : "a"(low), "d"(high), "r"(c) : "cc");
    return quotient;
}

/// How long a tick of a counter takes, in 2^-40 ns: finer than any clock is stable.
struct Rate {
    uint64_t raw = 0;

    static constexpr unsigned kShift = 40;
    static Rate of(uint64_t nanoseconds, uint64_t ticks) {
        return {mul_div(nanoseconds, uint64_t{1} << kShift, ticks)};
    }
    uint64_t hz() const { return mul_div(1'000'000'000, uint64_t{1} << kShift, raw); }
    /// This rate, faster by `ppb` parts in 10^9 (slower if negative).
    Rate adjusted(int64_t ppb) const {
        const auto size = static_cast<uint64_t>(ppb < 0 ? -ppb : ppb);
        const uint64_t part = mul_div(raw, size, 1'000'000'000);
        return {ppb < 0 ? raw - part : raw + part};
    }
    /// By how much this rate is above `other`, in parts in 10^9; at most 10^9 either way.
    int64_t ppb_above(Rate other) const {
        const bool above = raw >= other.raw;
        const uint64_t difference = above ? raw - other.raw : other.raw - raw;
        if (difference >= other.raw) return above ? 1'000'000'000 : -1'000'000'000;
        const auto ppb = static_cast<int64_t>(mul_div(difference, 1'000'000'000, other.raw));
        return above ? ppb : -ppb;
    }
};

/// The form that guests use, too (vcpu_time_info in <xen/xen.h>):
/// ns = ((ticks << shift) * mul) >> 32, a negative shift going to the right.
struct Scale {
    uint32_t mul = 0;
    int8_t shift = 0;

    static constexpr Scale of(Rate rate) {
        // mul * 2^shift = rate * 2^32, with the top bit of mul set for precision.
        const int top = 63 - std::countl_zero(rate.raw);
        const int shift = top - static_cast<int>(Rate::kShift) + 1;
        const int right = shift + static_cast<int>(Rate::kShift) - 32;
        const uint64_t mul = right >= 0 ? rate.raw >> right : rate.raw << -right;
        return {static_cast<uint32_t>(mul), static_cast<int8_t>(shift)};
    }
    constexpr uint64_t to_ns(uint64_t ticks) const {
        const uint64_t shifted = shift >= 0 ? ticks << shift : ticks >> -shift;
        return static_cast<uint64_t>((static_cast<unsigned __int128>(shifted) * mul) >> 32);
    }
    friend bool operator==(const Scale&, const Scale&) = default;
};

}  // namespace hv::time

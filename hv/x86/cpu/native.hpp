// Instructions that C++ has no words for, as they are. MSRs and control registers: msr.hpp.
#pragma once

#include <cstdint>

namespace hv::native {

struct Cpuid {
    uint32_t a, b, c, d;
};
inline Cpuid cpuid(uint32_t leaf, uint32_t subleaf = 0) {
    Cpuid r;
    asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(subleaf));
    return r;
}

inline uint64_t rdtsc() {
    uint32_t low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t{high} << 32) | low;
}

inline void xsetbv(uint64_t value) {
    asm volatile("xsetbv" ::"a"(static_cast<uint32_t>(value)),
                 "d"(static_cast<uint32_t>(value >> 32)), "c"(0)
                 : "memory");
}

inline void clts() {
    asm volatile("clts" ::: "memory");
}

}  // namespace hv::native

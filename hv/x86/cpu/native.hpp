// Instructions that C++ has no words for, as they are. Ports: port_io.hpp.
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

/// The MSR must exist: a #GP here is our own fault.
inline uint64_t rdmsr(uint32_t number) {
    uint32_t low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(number));
    return (uint64_t{high} << 32) | low;
}
inline void wrmsr(uint32_t number, uint64_t value) {
    asm volatile("wrmsr" ::"a"(static_cast<uint32_t>(value)),
                 "d"(static_cast<uint32_t>(value >> 32)), "c"(number)
                 : "memory");
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

inline uint64_t read_cr0() {
    uint64_t value;
    asm volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}
inline void write_cr0(uint64_t value) {
    asm volatile("mov %0, %%cr0" ::"r"(value) : "memory");
}
inline uint64_t read_cr4() {
    uint64_t value;
    asm volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}
inline void write_cr4(uint64_t value) {
    asm volatile("mov %0, %%cr4" ::"r"(value) : "memory");
}
inline void clts() {
    asm volatile("clts" ::: "memory");
}
inline void wbinvd() {
    asm volatile("wbinvd" ::: "memory");
}

}  // namespace hv::native

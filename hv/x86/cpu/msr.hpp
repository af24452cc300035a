// Model-specific registers and control registers: names (AMD64 manual vol. 2, appendix A) and
// access.
#pragma once

#include <cstdint>

namespace hv::arch {

namespace msr {
inline constexpr uint32_t kApicBase = 0x1b;
inline constexpr uint32_t kTscDeadline = 0x6e0;
inline constexpr uint32_t kX2ApicFirst = 0x800;
inline constexpr uint32_t kPat = 0x277;
inline constexpr uint32_t kEfer = 0xc0000080;
inline constexpr uint32_t kStar = 0xc0000081;
inline constexpr uint32_t kLstar = 0xc0000082;
inline constexpr uint32_t kCstar = 0xc0000083;
inline constexpr uint32_t kSfMask = 0xc0000084;
inline constexpr uint32_t kFsBase = 0xc0000100;
inline constexpr uint32_t kGsBase = 0xc0000101;
inline constexpr uint32_t kKernelGsBase = 0xc0000102;
inline constexpr uint32_t kDeCfg = 0xc0011029;  ///< AMD's; bit 1: LFENCE holds what follows back
}  // namespace msr

/// Only MSRs that are known to exist: an access to another one is fatal in the hypervisor.
inline uint64_t read_msr(uint32_t number) {
    uint32_t low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(number));
    return uint64_t{high} << 32 | low;
}
inline void write_msr(uint32_t number, uint64_t value) {
    asm volatile("wrmsr" ::"c"(number), "a"(static_cast<uint32_t>(value)),
                 "d"(static_cast<uint32_t>(value >> 32))
                 : "memory");
}

}  // namespace hv::arch

namespace hv::cpu {

inline constexpr uint64_t kEferSce = 1 << 0, kEferLme = 1 << 8, kEferNxe = 1 << 11;

inline constexpr uint64_t kCr0Ts = 1 << 3;
inline constexpr uint64_t kCr4De = 1 << 3, kCr4Pae = 1 << 5, kCr4Mce = 1 << 6, kCr4Pge = 1 << 7,
                          kCr4OsFxsr = 1 << 9, kCr4OsXmmExcpt = 1 << 10, kCr4Umip = 1 << 11,
                          kCr4FsGsBase = 1 << 16, kCr4OsXsave = 1 << 18, kCr4Smep = 1 << 20,
                          kCr4Smap = 1 << 21;

#ifdef XENOLITH_HOST
/// A program has none of its own: what is written is what is read.
inline uint64_t host_control_registers[5];
#define XENOLITH_CONTROL_REGISTER(n)          \
    inline uint64_t read_cr##n() {            \
        return host_control_registers[n];     \
    }                                         \
    inline void write_cr##n(uint64_t value) { \
        host_control_registers[n] = value;    \
    }
#else
#define XENOLITH_CONTROL_REGISTER(n)                             \
    inline uint64_t read_cr##n() {                               \
        uint64_t value;                                          \
        asm volatile("mov %%cr" #n ", %0" : "=r"(value));        \
        return value;                                            \
    }                                                            \
    inline void write_cr##n(uint64_t value) {                    \
        asm volatile("mov %0, %%cr" #n ::"r"(value) : "memory"); \
    }
#endif
XENOLITH_CONTROL_REGISTER(0)
XENOLITH_CONTROL_REGISTER(2)
XENOLITH_CONTROL_REGISTER(3)
XENOLITH_CONTROL_REGISTER(4)
#undef XENOLITH_CONTROL_REGISTER

/// What the CPUs have that our own code depends on; the boot CPU's, which all others must match.
struct Features {
    bool smep, smap, fsgsbase, invpcid, xsave, umip, nx, pge, la57, x2apic, tsc_deadline;
};
extern Features detected_features;
inline const Features& features() {
    return detected_features;
}
/// Fills features() in; once, on the boot CPU, before init_this_cpu().
void detect_features();

}  // namespace hv::cpu

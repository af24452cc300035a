// Model-specific registers that are known to exist: an access to another one faults, which in the
// hypervisor is fatal. Numbers after Intel's manual, volume 4.
#pragma once

#include <cstdint>

namespace hv::arch {

namespace msr {
inline constexpr uint32_t kApicBase = 0x1b;
inline constexpr uint32_t kTscDeadline = 0x6e0;
inline constexpr uint32_t kX2ApicFirst = 0x800;
inline constexpr uint32_t kEfer = 0xc0000080;
}  // namespace msr

inline uint64_t read_msr(uint32_t number) {
    uint32_t low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(number));
    return uint64_t{high} << 32 | low;
}
inline void write_msr(uint32_t number, uint64_t value) {
    asm volatile("wrmsr"
                 :
                 : "c"(number), "a"(static_cast<uint32_t>(value)),
                   "d"(static_cast<uint32_t>(value >> 32))
                 : "memory");
}

}  // namespace hv::arch

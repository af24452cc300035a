// The time stamp counter. In unit tests a fake one counts.
#pragma once

#include <cstdint>

namespace hv::time {

#ifdef XENOLITH_HOST
uint64_t read_tsc();
#else
/// Not before all earlier loads and instructions are done: RDTSC alone may run ahead of them, and
/// two CPUs could then see time go backwards (Intel's manual, volume 2, RDTSC; AMD's LFENCE is
/// serialising as the boot code sets it).
inline uint64_t read_tsc() {
    uint32_t low, high;
    asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return uint64_t{high} << 32 | low;
}
#endif

}  // namespace hv::time

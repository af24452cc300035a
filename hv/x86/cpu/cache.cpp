// CLFLUSH: lines of a range, on all CPUs (SDM vol. 2, CLFLUSH; APM vol. 3).
#include "arch/cache.hpp"

#include <cstdint>

#include "hv/x86/cpu/native.hpp"

namespace hv::arch {

void flush_cache_lines(const void* from, size_t bytes) {
    // CPUID 1, EBX 15:8: the size of a line in units of 8 bytes.
    const uintptr_t line = (native::cpuid(1).b >> 8 & 0xff) * 8;
    const uintptr_t end = reinterpret_cast<uintptr_t>(from) + bytes;
    asm volatile("mfence" ::: "memory");  // on AMD, CLFLUSH is ordered by nothing less
    for (uintptr_t at = reinterpret_cast<uintptr_t>(from) & ~(line - 1); at < end; at += line)
        asm volatile("clflush %0" : "+m"(*reinterpret_cast<volatile char*>(at)));
    asm volatile("mfence" ::: "memory");
}

}  // namespace hv::arch

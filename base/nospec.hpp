// A check must hold for a CPU that speculates past it, too (Spectre variant 1). Index masking: a
// guest's number, already checked against its bound, is not used beyond the bound. Where a check
// decides whether what a guest has named may be read, what is read is waited for.
#pragma once

#include <cstdint>

namespace base {

/// `index` if it is below `size`, else 0, computed without a branch. The bounds check itself stays
/// with the caller; this only limits what a mispredicted check can reach.
inline uint64_t index_nospec(uint64_t index, uint64_t size) {
    uint64_t mask;
#if defined(__x86_64__)
    // The borrow of the comparison fills the mask; the compiler cannot turn it into a branch.
    asm volatile("cmp %[size], %[index]\n\tsbb %[mask], %[mask]"
                 : [mask] "=r"(mask)
                 : [index] "r"(index), [size] "rme"(size)
                 : "cc");
#else
    asm volatile("" : "+r"(index));  // hides from the compiler what the check has proved
    mask = static_cast<uint64_t>(static_cast<int64_t>(~(index | (size - 1 - index))) >> 63);
#endif
    return index & mask;
}

/// Nothing behind it begins before the checks in front of it are done. For where what a guest has
/// named is read next, and what was read leads on: one load alone shows nobody anything.
inline void block_speculation() {
#if defined(__x86_64__)
    asm volatile("lfence" ::: "memory");
#else
#error "what holds speculation back here?"
#endif
}

}  // namespace base

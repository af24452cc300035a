// Small copies between the hypervisor and the loaded guest, without a call: most hypercalls read
// and write a few words. Everything else goes through guest_memory.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hv/x86/cpu/extable.hpp"
#include "hv/x86/cpu/msr.hpp"
#include "hv/x86/paging/entry.hpp"

namespace hv::cpu {

/// The largest structure that is worth being copied in line.
inline constexpr size_t kInlineCopy = 64;

/// Whether [linear, linear + kBytes) may be the guest's. If not, `linear` becomes one that is not
/// ours, without a branch, so that speculation past the answer reads no secret.
///
/// What is neither canonical nor the guest's is one range: from the end of the lower half up to the
/// end of the hypervisor's. So one comparison does.
template <size_t kBytes>
[[gnu::always_inline]] inline bool confine_to_guest(uint64_t& linear) {
    constexpr uint64_t kStart = uint64_t{1} << 47;
    constexpr uint64_t kBound = paging::kHypervisorEnd - kStart + (kBytes - 1);
    const uint64_t distance = linear - kStart + (kBytes - 1);
    uint64_t forbidden;  // all ones, or 0
    // All in one, as the compiler would drop the masking where the branch has been taken.
    asm("cmp %[bound], %[distance]\n\t"
        "sbb %[forbidden], %[forbidden]\n\t"
        "or %[forbidden], %[linear]"
        : [forbidden] "=&r"(forbidden), [linear] "+r"(linear)
        : [distance] "r"(distance), [bound] "r"(kBound)
        : "cc");
    return !forbidden;
}

template <class Word>
[[gnu::always_inline]] inline bool fetch_word(void* to, uint64_t linear) {
    Word word;
    asm goto("1: mov %[from], %[word]\n\t" EXTABLE("1b", "%l[fault]")
             : [word] "=r"(word)
             : [from] "m"(*reinterpret_cast<const volatile Word*>(linear))
             :
             : fault);
    __builtin_memcpy(to, &word, sizeof(Word));
    return true;
fault:
    return false;
}

template <class Word>
[[gnu::always_inline]] inline bool store_word(uint64_t linear, const void* from) {
    Word word;
    __builtin_memcpy(&word, from, sizeof(Word));
    asm goto("1: mov %[word], %[to]\n\t" EXTABLE("1b", "%l[fault]")
             :
             : [word] "r"(word), [to] "m"(*reinterpret_cast<volatile Word*>(linear))
             : "memory"
             : fault);
    return true;
fault:
    return false;
}

/// Calls `step.operator()<Word>(offset)` for words that make up kBytes, until one says false.
template <size_t kBytes, size_t kOffset = 0, class Step>
[[gnu::always_inline]] inline bool for_each_word(Step step) {
    constexpr size_t kLeft = kBytes - kOffset;
    if constexpr (kLeft >= 8)
        return step.template operator()<uint64_t>(kOffset) &&
               for_each_word<kBytes, kOffset + 8>(step);
    else if constexpr (kLeft >= 4)
        return step.template operator()<uint32_t>(kOffset) &&
               for_each_word<kBytes, kOffset + 4>(step);
    else if constexpr (kLeft >= 2)
        return step.template operator()<uint16_t>(kOffset) &&
               for_each_word<kBytes, kOffset + 2>(step);
    else if constexpr (kLeft == 1)
        return step.template operator()<uint8_t>(kOffset);
    else
        return true;
}

/// Supervisor access to user pages, which SMAP otherwise forbids.
[[gnu::always_inline]] inline void allow_user_access() {
    if (features().smap) asm volatile("stac" ::: "memory");
}
[[gnu::always_inline]] inline void forbid_user_access() {
    if (features().smap) asm volatile("clac" ::: "memory");
}

template <size_t kBytes>
[[gnu::always_inline]] inline bool fetch_from_guest(void* to, uint64_t linear) {
    if (!confine_to_guest<kBytes>(linear)) [[unlikely]]
        return false;
    allow_user_access();
    const bool fetched = for_each_word<kBytes>([&]<class Word>(size_t offset) {
        return fetch_word<Word>(static_cast<char*>(to) + offset, linear + offset);
    });
    forbid_user_access();
    return fetched;
}

template <size_t kBytes>
[[gnu::always_inline]] inline bool store_to_guest(uint64_t linear, const void* from) {
    if (!confine_to_guest<kBytes>(linear)) [[unlikely]]
        return false;
    allow_user_access();
    const bool stored = for_each_word<kBytes>([&]<class Word>(size_t offset) {
        return store_word<Word>(linear + offset, static_cast<const char*>(from) + offset);
    });
    forbid_user_access();
    return stored;
}

}  // namespace hv::cpu

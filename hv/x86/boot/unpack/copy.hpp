// Copies of a few bytes, millions of times: what all formats that repeat earlier output spend their
// time with. Both copy whole words, and so write beyond the end where there is room.
//
// A call of memcpy() would cost more than most of these copies, and `rep movsb` starts slowly.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hv::boot {

/// How many bytes behind what is copied a word may touch.
inline constexpr ptrdiff_t kCopySlack = 16;

[[gnu::always_inline]] inline void copy_word(uint8_t* to, const uint8_t* from) {
    uint64_t word;
    __builtin_memcpy(&word, from, sizeof word);
    __builtin_memcpy(to, &word, sizeof word);
}

/// Copies `length` bytes to `out` from `distance` bytes back (at least 1), which may overlap what
/// is being written. Up to `room_end` the buffer may be overwritten. Returns the end.
[[gnu::always_inline]] inline uint8_t* copy_match(uint8_t* out, size_t distance, size_t length,
                                                  const uint8_t* room_end) {
    uint8_t* const end = out + length;
    if (room_end - end < kCopySlack) [[unlikely]] {
        for (; out != end; ++out) *out = *(out - distance);
        return end;
    }
    if (distance < 8) {
        for (int i = 0; i < 8; ++i) out[i] = *(out + i - distance);
        // The pattern repeats: go on from a multiple of it that is at least a word back.
        static constexpr uint8_t kWider[8] = {0, 8, 8, 9, 8, 10, 12, 14};
        distance = kWider[distance];
        out += 8;
    }
    for (; out < end; out += 8) copy_word(out, out - distance);
    return end;
}

/// Copies `length` bytes from another buffer, which is readable up to `from_end`. Returns the end.
[[gnu::always_inline]] inline uint8_t* copy_run(uint8_t* out, const uint8_t* from, size_t length,
                                                const uint8_t* room_end, const uint8_t* from_end) {
    uint8_t* const end = out + length;
    if (room_end - end < kCopySlack ||
        from_end - from < static_cast<ptrdiff_t>(length) + kCopySlack) [[unlikely]] {
        __builtin_memcpy(out, from, length);
        return end;
    }
    for (; out < end; out += 8, from += 8) copy_word(out, from);
    return end;
}

}  // namespace hv::boot

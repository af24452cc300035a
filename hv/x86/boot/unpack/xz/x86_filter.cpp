#include "hv/x86/boot/unpack/xz/x86_filter.hpp"

#include <bit>

namespace hv::boot::xz {
namespace {

// The filter looks at each E8 (CALL) or E9 (JMP) and takes the four bytes behind it for a target if
// the highest of them is 00 or FF. An opcode byte may itself be part of an earlier operand that was
// not converted; the filter remembers in which of the last three bytes such candidates stood:
// bit k of `candidates` is the byte k + 1 before.

constexpr bool is_sign_byte(uint8_t byte) {
    return byte == 0x00 || byte == 0xff;
}

/// The first position from `at` on that holds E8 or E9, or `end`. Eight bytes at a time: the block
/// is tens of MiB, and few bytes match.
size_t find_opcode(const uint8_t* data, size_t at, size_t end) {
    constexpr uint64_t kOnes = 0x0101010101010101;
    for (; at + 8 <= end; at += 8) {
        uint64_t word;
        __builtin_memcpy(&word, data + at, sizeof word);
        word = (word & (kOnes * 0xfe)) ^ (kOnes * 0xe8);        // a match is a zero byte now
        uint64_t zero = (word - kOnes) & ~word & (kOnes << 7);  // its lowest bit set is exact
        if (zero) return at + static_cast<size_t>(std::countr_zero(zero)) / 8;
    }
    while (at < end && (data[at] & 0xfe) != 0xe8) ++at;
    return at;
}

/// Bits of the target below the byte that the nearest candidate's operand ends in.
constexpr unsigned overlap_bits(uint32_t candidates) {
    return 8 * static_cast<unsigned>(std::bit_width(candidates));
}

uint32_t to_relative(uint32_t target, uint32_t next_instruction, uint32_t candidates) {
    for (;;) {
        uint32_t relative = target - next_instruction;
        if (!candidates) return relative;
        unsigned overlap = overlap_bits(candidates);
        if (!is_sign_byte(static_cast<uint8_t>(relative >> (24 - overlap)))) return relative;
        // The encoder met the same ambiguity and went round once more with these bits flipped.
        target = relative ^ ((uint64_t{1} << (32 - overlap)) - 1);
    }
}

}  // namespace

void undo_x86_filter(std::span<uint8_t> block) {
    if (block.size() < 5) return;
    uint8_t* data = block.data();
    const size_t end = block.size() - 4;  // an operand must fit behind the opcode
    uint32_t candidates = 0;
    size_t last = 0;  // where the latest opcode byte stood; meaningful while candidates != 0

    for (size_t at = find_opcode(data, 0, end); at < end; at = find_opcode(data, at, end)) {
        size_t gap = at - last;
        candidates = candidates && gap <= 3 ? (candidates << (gap - 1)) & 7 : 0;
        last = at;

        bool convert = is_sign_byte(data[at + 4]);
        if (candidates) {
            // More than one candidate in reach, or a sign byte where the candidate's own operand
            // would have ended: that operand was converted by the encoder, this one is inside it.
            size_t sign = at + 4 - static_cast<size_t>(std::bit_width(candidates));
            if (!std::has_single_bit(candidates) || is_sign_byte(data[sign])) convert = false;
        }
        if (!convert) {
            candidates = (candidates << 1) | 1;
            ++at;
            continue;
        }
        uint32_t target;
        __builtin_memcpy(&target, data + at + 1, sizeof target);
        uint32_t relative = to_relative(target, static_cast<uint32_t>(at) + 5, candidates);
        relative = (relative & 0x01000000) ? relative | 0xff000000 : relative & 0x00ffffff;
        __builtin_memcpy(data + at + 1, &relative, sizeof relative);
        candidates = 0;
        at += 5;
    }
}

}  // namespace hv::boot::xz

// LZMA's range decoder: each binary decision splits the current range in the proportion of an
// adaptive probability, and the code says into which part it falls.
//
// A RangeDecoder is meant to live in registers: it is copied into a local at the start of a chunk,
// everything here is inlined into that function, and nothing takes its address for good.
#pragma once

#include <cstdint>

namespace hv::boot::xz {

/// How likely a decision is 0, in 1/2048.
using Probability = uint16_t;
inline constexpr unsigned kProbabilityBits = 11;
inline constexpr unsigned kProbabilityOne = 1 << kProbabilityBits;
inline constexpr unsigned kProbabilityShift = 5;  // how fast it adapts

#define XZ_INLINE [[gnu::always_inline]] inline

struct RangeDecoder {
    static constexpr uint32_t kLeast = 1 << 24;  ///< below, another input byte is shifted in

    uint32_t range;
    uint32_t code;
    const uint8_t* input;  ///< the next byte; the caller guarantees enough of them (lzma.cpp)

    XZ_INLINE void normalise() {
        if (range < kLeast) {
            range <<= 8;
            code = (code << 8) | *input++;
        }
    }

    /// Decodes one decision; adapts `probability`; calls one of the two with no argument.
    template <class OnZero, class OnOne>
    XZ_INLINE auto decide(Probability& probability, OnZero on_zero, OnOne on_one) {
        normalise();
        const uint32_t p = probability;
        const uint32_t bound = (range >> kProbabilityBits) * p;
        if (code < bound) {
            range = bound;
            probability =
                static_cast<Probability>(p + ((kProbabilityOne - p) >> kProbabilityShift));
            return on_zero();
        }
        range -= bound;
        code -= bound;
        probability = static_cast<Probability>(p - (p >> kProbabilityShift));
        return on_one();
    }

    XZ_INLINE bool bit(Probability& probability) {
        return decide(
            probability, [] { return false; }, [] { return true; });
    }

    /// A number of `Bits` bits, highest first; `tree` has 2^Bits entries, the first one unused.
    template <unsigned Bits>
    XZ_INLINE uint32_t tree(Probability* tree) {
        uint32_t node = 1;
#pragma GCC unroll 8
        for (unsigned i = 0; i < Bits; ++i)
            decide(
                tree[node], [&] { node = 2 * node; }, [&] { node = 2 * node + 1; });
        return node - (1 << Bits);
    }

    /// The same, lowest bit first. tree[0] is the unused entry.
    XZ_INLINE uint32_t reverse_tree(Probability* tree, unsigned bits) {
        uint32_t node = 1;
        uint32_t value = 0;
        for (unsigned i = 0; i < bits; ++i)
            decide(
                tree[node], [&] { node = 2 * node; },
                [&] { node = 2 * node + 1, value |= 1u << i; });
        return value;
    }

    /// `bits` equally likely bits, highest first.
    XZ_INLINE uint32_t direct(unsigned bits) {
        uint32_t value = 0;
        do {
            normalise();
            range >>= 1;
            code -= range;
            uint32_t borrow = 0 - (code >> 31);  // all ones if the bit is 0
            code += range & borrow;
            value = (value << 1) + borrow + 1;
        } while (--bits);
        return value;
    }
};

}  // namespace hv::boot::xz

// How much input a symbol can take: a probability is never below 31/2048, so an adaptive decision
// shrinks the range by at most 6.05 bits, a direct one by 1. The longest symbol, a match, has 22
// adaptive decisions (match, kind, 2 + 8 for the length, 6 for the slot, 4 align) and 26 direct
// bits: under 160 bits, so 20 bytes, and one more for the normalisation at a chunk's end. That is
// less than kReadAhead, and the check once a symbol in decode_chunk() suffices.
#include "hv/x86/boot/unpack/xz/lzma.hpp"

#include "hv/x86/boot/unpack/copy.hpp"

namespace hv::boot::xz {
namespace {

// The state says what the last symbols were: below kFirstMatchState the very last was a literal.
constexpr uint32_t kFirstMatchState = 7;
XZ_INLINE uint32_t next_after_literal(uint32_t s) {
    return s < 4 ? 0 : s < 10 ? s - 3 : s - 6;
}
XZ_INLINE uint32_t next_after_match(uint32_t s) {
    return s < kFirstMatchState ? 7 : 10;
}
XZ_INLINE uint32_t next_after_repeat(uint32_t s) {
    return s < kFirstMatchState ? 8 : 11;
}
XZ_INLINE uint32_t next_after_short_repeat(uint32_t s) {
    return s < kFirstMatchState ? 9 : 11;
}

constexpr uint32_t kLeastMatch = 2;

}  // namespace

Result<> LzmaDecoder::set_properties(uint8_t byte) {
    if (byte >= 5 * 5 * 9) return Errno::kEINVAL;
    const unsigned context_bits = byte % 9;
    const unsigned position_bits = byte / 9 % 5;
    if (context_bits + position_bits > kMaxLiteralBits) return Errno::kEINVAL;
    literal_context_bits_ = context_bits;
    literal_position_mask_ = (1u << position_bits) - 1;
    position_mask_ = (1u << (byte / 45)) - 1;
    return {};
}

void LzmaDecoder::reset() {
    state_ = 0;
    for (auto& distance : recent_) distance = 0;
    auto* probabilities = reinterpret_cast<Probability*>(&model_);
    for (size_t i = 0; i < sizeof model_ / sizeof(Probability); ++i)
        probabilities[i] = kProbabilityOne / 2;
}

XZ_INLINE uint8_t LzmaDecoder::decode_literal(RangeDecoder& rc, Probability* tree) {
    return static_cast<uint8_t>(rc.tree<8>(tree));
}

// After a match the byte that the match would have gone on with is a good guess: as long as the
// bits agree with it, trees of their own are used (the second and third hundred of the coder).
XZ_INLINE uint8_t LzmaDecoder::decode_matched_literal(RangeDecoder& rc, Probability* tree,
                                                      uint32_t match_byte) {
    uint32_t node = 1;
    uint32_t offset = 0x100;
    do {
        match_byte <<= 1;
        const uint32_t match_bit = match_byte & offset;
        rc.decide(
            tree[offset + match_bit + node], [&] { node = 2 * node, offset &= ~match_bit; },
            [&] { node = 2 * node + 1, offset &= match_bit; });
    } while (node < 0x100);
    return static_cast<uint8_t>(node);
}

XZ_INLINE uint32_t LzmaDecoder::decode_length(RangeDecoder& rc, LengthCoder& coder,
                                              uint32_t position_state) {
    if (!rc.bit(coder.beyond_low)) return kLeastMatch + rc.tree<3>(coder.low[position_state]);
    if (!rc.bit(coder.beyond_middle))
        return kLeastMatch + 8 + rc.tree<3>(coder.middle[position_state]);
    return kLeastMatch + 16 + rc.tree<8>(coder.high);
}

/// A distance less one. It may come out as anything up to 2^32 - 1; the caller checks it.
XZ_INLINE uint32_t LzmaDecoder::decode_distance(RangeDecoder& rc, uint32_t length) {
    const uint32_t class_of_length =
        length < kLeastMatch + kLengthStates ? length - kLeastMatch : kLengthStates - 1;
    const uint32_t slot = rc.tree<kSlotBits>(model_.slot[class_of_length]);
    if (slot < kFirstModelSlot) return slot;
    const uint32_t bits = (slot >> 1) - 1;
    const uint32_t base = (2 | (slot & 1)) << bits;
    if (slot < kEndModelSlot)  // each slot's tree follows the one before; its entry 0 is unused
        return base + rc.reverse_tree(model_.distance + base - slot, bits);
    return base + (rc.direct(bits - kAlignBits) << kAlignBits) +
           rc.reverse_tree(model_.align, kAlignBits);
}

// One loop over the symbols of a chunk, with the whole decoder state in locals: that is what makes
// it fast, and why it is longer than other functions.
Result<> LzmaDecoder::decode_chunk(const Buffers& buffers) {
    const uint8_t* const input_end = buffers.input_end;
    if (input_end - buffers.input < 5 || buffers.input[0] != 0) return Errno::kEINVAL;
    RangeDecoder rc{.range = 0xffffffff, .code = 0, .input = buffers.input + 5};
    for (int i = 1; i < 5; ++i) rc.code = (rc.code << 8) | buffers.input[i];

    uint8_t* out = buffers.out;
    uint8_t* const out_end = buffers.out_end;
    const uint8_t* const dictionary = buffers.dictionary;
    uint32_t state = state_;
    uint32_t recent0 = recent_[0], recent1 = recent_[1], recent2 = recent_[2], recent3 = recent_[3];

    while (out < out_end) {
        if (rc.input > input_end) return Errno::kEINVAL;
        const uint32_t position = static_cast<uint32_t>(out - dictionary);
        const uint32_t position_state = position & position_mask_;

        if (!rc.bit(model_.is_match[state][position_state])) {
            const uint32_t previous = position ? out[-1] : 0;
            Probability* tree =
                model_.literal +
                kLiteralCoder * (((position & literal_position_mask_) << literal_context_bits_) +
                                 (previous >> (8 - literal_context_bits_)));
            if (state < kFirstMatchState) {
                *out++ = decode_literal(rc, tree);
            } else {
                // recent0 was checked when its match was decoded, in this dictionary.
                *out = decode_matched_literal(rc, tree, *(out - recent0 - 1));
                ++out;
            }
            state = next_after_literal(state);
            continue;
        }

        uint32_t length;
        if (!rc.bit(model_.is_repeat[state])) {
            recent3 = recent2, recent2 = recent1, recent1 = recent0;
            length = decode_length(rc, model_.match_length, position_state);
            recent0 = decode_distance(rc, length);
            state = next_after_match(state);
        } else {
            bool short_repeat = false;
            if (!rc.bit(model_.is_repeat_older[state])) {
                short_repeat = !rc.bit(model_.is_repeat_long[state][position_state]);
            } else {
                uint32_t chosen = recent1;
                if (rc.bit(model_.is_repeat_beyond_1[state])) {
                    chosen = recent2;
                    if (rc.bit(model_.is_repeat_beyond_2[state])) {
                        chosen = recent3;
                        recent3 = recent2;
                    }
                    recent2 = recent1;
                }
                recent1 = recent0;
                recent0 = chosen;
            }
            if (short_repeat) {
                length = 1;
                state = next_after_short_repeat(state);
            } else {
                length = decode_length(rc, model_.repeat_length, position_state);
                state = next_after_repeat(state);
            }
        }
        if (recent0 >= position || length > static_cast<size_t>(out_end - out))
            return Errno::kEINVAL;
        out = copy_match(out, size_t{recent0} + 1, length, buffers.room_end);
    }

    rc.normalise();
    if (rc.input != input_end || rc.code != 0) return Errno::kEINVAL;
    state_ = state;
    recent_[0] = recent0, recent_[1] = recent1, recent_[2] = recent2, recent_[3] = recent3;
    return {};
}

}  // namespace hv::boot::xz

// LZMA proper, as LZMA2 chunks carry it: literals and matches against what was decoded before.
//
// The output buffer holds the whole block and is its own dictionary: no copy, no window.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.hpp"
#include "hv/limits.hpp"
#include "hv/x86/boot/unpack/xz/range_decoder.hpp"

namespace hv::boot::xz {

class LzmaDecoder {
  public:
    /// Bytes that must be readable behind a chunk's end: a symbol is decoded without looking at
    /// the end of the input in between (lzma.cpp says why it can take no more).
    static constexpr size_t kReadAhead = 24;

    /// What a chunk says; `out` moves on, all else stays.
    struct Buffers {
        const uint8_t* input;       ///< the chunk's packed bytes
        const uint8_t* input_end;   ///< their end; kReadAhead more are readable
        const uint8_t* dictionary;  ///< where matches may reach back to
        uint8_t* out;               ///< where to write
        uint8_t* out_end;           ///< the chunk unpacks to exactly this
        uint8_t* room_end;          ///< up to here the buffer may be overwritten in advance
    };

    /// The byte that gives lc, lp and pb, ((pb * 5 + lp) * 9 + lc); LZMA2 allows lc + lp <= 4.
    /// kEINVAL: out of range.
    Result<> set_properties(uint8_t byte);
    /// Forgets all statistics and the recent distances.
    void reset();
    /// Unpacks one chunk. kEINVAL: the packed bytes are damaged.
    Result<> decode_chunk(const Buffers& buffers);

  private:
    static constexpr unsigned kStates = 12;
    static constexpr unsigned kPositionStates = 16;
    static constexpr unsigned kLengthStates = 4;  // distances of matches of 2, 3, 4, more bytes
    static constexpr unsigned kSlotBits = 6;
    static constexpr unsigned kAlignBits = 4;
    static constexpr unsigned kFirstModelSlot = 4;  // slots below are distances themselves
    static constexpr unsigned kEndModelSlot = 14;   // from here on: direct bits and align bits
    static constexpr unsigned kModelledDistances = 1 << (kEndModelSlot / 2);
    static constexpr unsigned kLiteralCoder = 0x300;  // three trees of 256
    static constexpr unsigned kMaxLiteralBits = 4;

    struct LengthCoder {
        Probability beyond_low, beyond_middle;
        Probability low[kPositionStates][8];
        Probability middle[kPositionStates][8];
        Probability high[256];
    };
    struct Model {
        Probability is_match[kStates][kPositionStates];
        Probability is_repeat[kStates];
        Probability is_repeat_older[kStates];                  // not distance 0
        Probability is_repeat_long[kStates][kPositionStates];  // distance 0: more than one byte
        Probability is_repeat_beyond_1[kStates];
        Probability is_repeat_beyond_2[kStates];
        Probability slot[kLengthStates][1 << kSlotBits];
        Probability distance[kModelledDistances];
        Probability align[1 << kAlignBits];
        LengthCoder match_length, repeat_length;
        Probability literal[kLiteralCoder << kMaxLiteralBits];
    };

    static uint32_t decode_length(RangeDecoder& rc, LengthCoder& coder, uint32_t position_state);
    uint32_t decode_distance(RangeDecoder& rc, uint32_t length);
    static uint8_t decode_literal(RangeDecoder& rc, Probability* tree);
    static uint8_t decode_matched_literal(RangeDecoder& rc, Probability* tree, uint32_t match_byte);

    uint32_t state_ = 0;       // what the last symbols were: see next_* in lzma.cpp
    uint32_t recent_[4] = {};  // the last distances, each less one
    uint32_t literal_context_bits_ = 0;
    uint32_t literal_position_mask_ = 0;
    uint32_t position_mask_ = 0;
    Model model_;
};

}  // namespace hv::boot::xz

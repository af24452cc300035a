// Deflate's prefix ("Huffman") codes: shorter codes for likelier symbols, and none begins another.
//
// A code is told by the lengths of its symbols' codes alone (RFC 1951, 3.2.2): codes of one length
// are consecutive numbers in the order of the symbols, and longer ones follow shorter ones.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/x86/boot/unpack/bit_reader.hpp"

namespace hv::boot {

class PrefixCode {
  public:
    static constexpr unsigned kLongest = 15;     ///< bits of a code
    static constexpr size_t kMostSymbols = 288;  ///< of the code for literals and lengths
    static constexpr uint32_t kNoSymbol = 0xfff;

    /// `lengths[symbol]` is that symbol's, 0: it does not occur; at most kMostSymbols of them.
    /// kEINVAL: more codes than there are numbers, or fewer, but that one code may be alone.
    Result<> set(std::span<const uint8_t> lengths);

    /// The next symbol, kNoSymbol if none has such a code. Takes at most kLongest bits.
    [[gnu::always_inline]] uint32_t decode(BitReader& bits) const {
        uint32_t entry = fast_[bits.peek(kFastBits)];
        if (!entry) [[unlikely]]
            entry = find_long(bits.peek(kLongest));
        bits.skip(entry & 0xf);
        return entry >> 4;
    }

  private:
    static constexpr unsigned kFastBits = 10;

    void fill_fast(uint32_t symbol, unsigned length, uint32_t code);
    // Of numbers, not of a BitReader: whose address nobody takes stays in registers.
    uint32_t find_long(uint32_t next_bits) const;

    uint16_t count_[kLongest + 1];    // codes of each length
    uint16_t symbols_[kMostSymbols];  // in the order of their codes
    // By the next bits: an entry, which is symbol << 4 | length; 0: a longer code.
    uint16_t fast_[1 << kFastBits];
};

}  // namespace hv::boot

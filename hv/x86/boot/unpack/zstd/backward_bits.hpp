// Zstandard's packed bits: written forward, so read backward (RFC 8878, 4.1). The highest bit set
// of the last byte is a marker; the bits below it come first, then the byte before that, and so on.
//
//   begin_ … bytes not looked at yet … ◀── at_
//   bits_ = next bits, from its highest bit on; count_ of them
//
// Before the first byte come zeros, as in bit_reader.hpp.
#pragma once

#include <bit>

#include "hv/x86/boot/reader.hpp"

namespace hv::boot::zstd {

class BackwardBits {
  public:
    static constexpr unsigned kRefilled = 56;  ///< bits that there are at least after refill()

    /// kENODATA: empty. kEINVAL: there is no marker.
    static Result<BackwardBits> open(Bytes bytes) {
        if (bytes.empty()) return Errno::kENODATA;
        if (bytes.back() == 0) return Errno::kEINVAL;
        BackwardBits bits(bytes);
        bits.refill();
        bits.skip(static_cast<unsigned>(std::countl_zero(bytes.back())) + 1);
        return bits;
    }

    [[gnu::always_inline]] void refill() {
        if (at_ - begin_ >= 8) [[likely]] {
            // The bits below count_ may be there already from the last time: they are the same.
            uint64_t word;
            __builtin_memcpy(&word, at_ - 8, sizeof word);
            bits_ |= word >> count_;
            at_ -= (63 - count_) >> 3;
            count_ |= kRefilled;
            return;
        }
        for (; count_ < kRefilled; count_ += 8) {
            if (at_ > begin_)
                bits_ |= uint64_t{*--at_} << (56 - count_);
            else
                before_begin_ += 8;
        }
    }
    /// The next `count` bits, at most 32, of those that refill() has brought.
    [[gnu::always_inline]] uint32_t peek(unsigned count) const {
        return static_cast<uint32_t>((bits_ >> 1) >> (63 - count));  // count may be 0
    }
    [[gnu::always_inline]] void skip(unsigned count) {
        bits_ <<= count;
        count_ -= count;
    }
    [[gnu::always_inline]] uint32_t take(unsigned count) {
        const uint32_t value = peek(count);
        skip(count);
        return value;
    }
    /// Whether bits were taken that the stream does not have.
    bool overrun() const { return before_begin_ > count_; }
    /// Whether all bits were taken, and none more.
    bool finished() const { return at_ == begin_ && before_begin_ == count_; }

  private:
    explicit BackwardBits(Bytes bytes) : begin_(bytes.data()), at_(begin_ + bytes.size()) {}

    const uint8_t* begin_;
    const uint8_t* at_;
    uint64_t bits_ = 0;
    unsigned count_ = 0;
    unsigned before_begin_ = 0;  // how many of the bits so far were none of the stream's
};

}  // namespace hv::boot::zstd

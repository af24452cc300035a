// Bits of a byte stream, the lowest of each byte first: Deflate, and the tables in Zstandard.
//
//        at_ ──▶ bytes not looked at yet
//   bits_ = next bits, lowest first; count_ of them
//
// Behind the end of the bytes come zeros, so that decoders need not ask before every symbol:
// whoever has taken some of them finds overrun() true.
#pragma once

#include "hv/x86/boot/reader.hpp"

namespace hv::boot {

class BitReader {
  public:
    static constexpr unsigned kRefilled = 56;  ///< bits that there are at least after refill()

    explicit BitReader(Bytes bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

    [[gnu::always_inline]] void refill() {
        if (end_ - at_ >= 8) [[likely]] {
            // The bits above count_ may be there already from the last time: they are the same.
            uint64_t word;
            __builtin_memcpy(&word, at_, sizeof word);
            bits_ |= word << count_;
            at_ += (63 - count_) >> 3;
            count_ |= kRefilled;
            return;
        }
        for (; count_ < kRefilled; count_ += 8) {
            if (at_ < end_)
                bits_ |= uint64_t{*at_++} << count_;
            else
                behind_end_ += 8;
        }
    }
    /// The next `count` bits, fewer than 32, of those that refill() has brought.
    [[gnu::always_inline]] uint32_t peek(unsigned count) const {
        return static_cast<uint32_t>(bits_) & ((1u << count) - 1);
    }
    [[gnu::always_inline]] void skip(unsigned count) {
        bits_ >>= count;
        count_ -= count;
    }
    [[gnu::always_inline]] uint32_t take(unsigned count) {
        const uint32_t value = peek(count);
        skip(count);
        return value;
    }
    /// Whether bits were taken that the stream does not have.
    bool overrun() const { return behind_end_ > count_; }

    /// The bytes that follow the one the last bit was taken from; nothing must be read from here
    /// afterwards. kENODATA: more was taken than there is.
    Result<Bytes> rest() const {
        if (overrun()) return Errno::kENODATA;
        const uint8_t* const next = at_ - (count_ - behind_end_) / 8;
        return Bytes(next, end_);
    }

  private:
    const uint8_t* at_;
    const uint8_t* end_;
    uint64_t bits_ = 0;
    unsigned count_ = 0;
    unsigned behind_end_ = 0;  // how many of the bits so far were none of the stream's
};

}  // namespace hv::boot

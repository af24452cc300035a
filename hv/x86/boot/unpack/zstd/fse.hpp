// Zstandard's Finite State Entropy codes (RFC 8878, 4.1): a machine whose state says a symbol, and
// how many bits to read to get to the next state. Likelier symbols have more states, need fewer
// bits.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/x86/boot/unpack/zstd/backward_bits.hpp"

namespace hv::boot::zstd {

/// How many of a table's states are a symbol's; -1: a single one, at the table's end.
using Share = int16_t;

class FseTable {
  public:
    static constexpr unsigned kMostLog = 9;
    static constexpr size_t kMostSymbols = 256;

    /// A table of 2^log states; the shares' absolute values have to add up to that. kEINVAL.
    Result<> set(std::span<const Share> shares, unsigned log);
    /// Only this symbol, for no bits at all.
    void set_single(uint8_t symbol);
    /// Reads a table's description at the start of `bytes` and sets it; returns the bytes that this
    /// took. kEINVAL: more than 2^most_log states or than `most_symbols`, or damaged; kENODATA.
    Result<size_t> read(Bytes bytes, unsigned most_log, size_t most_symbols);

    [[gnu::always_inline]] uint32_t first_state(BackwardBits& bits) const {
        return bits.take(log_);
    }
    [[gnu::always_inline]] uint8_t symbol(uint32_t state) const { return states_[state].symbol; }
    [[gnu::always_inline]] uint32_t next_state(uint32_t state, BackwardBits& bits) const {
        return states_[state].base + bits.take(states_[state].bits);
    }

  private:
    struct State {
        uint16_t base;
        uint8_t bits;
        uint8_t symbol;
    };
    State states_[1 << kMostLog];
    unsigned log_ = 0;
};

}  // namespace hv::boot::zstd

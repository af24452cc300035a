#include "hv/x86/boot/unpack/zstd/fse.hpp"

#include <bit>

#include "hv/x86/boot/unpack/bit_reader.hpp"

namespace hv::boot::zstd {

void FseTable::set_single(uint8_t symbol) {
    log_ = 0;
    states_[0] = {.base = 0, .bits = 0, .symbol = symbol};
}

// RFC 8878, 4.1.1, "From normalized distribution to decoding tables": first who has which state,
// then, in the order of the states, which numbers lead on from each.
Result<> FseTable::set(std::span<const Share> shares, unsigned log) {
    const uint32_t size = 1u << log;
    if (log > kMostLog || shares.size() > kMostSymbols) return Errno::kEINVAL;
    log_ = log;

    uint32_t end = size;  // from here on: symbols with a single state
    uint32_t total = 0;
    for (size_t s = 0; s < shares.size(); ++s) {
        total += shares[s] < 0 ? 1 : static_cast<uint32_t>(shares[s]);
        if (total > size) return Errno::kEINVAL;
        if (shares[s] < 0) states_[--end].symbol = static_cast<uint8_t>(s);
    }
    if (total != size) return Errno::kEINVAL;

    const uint32_t step = (size >> 1) + (size >> 3) + 3;  // odd: it comes by every state once
    uint32_t at = 0;
    for (size_t s = 0; s < shares.size(); ++s) {
        for (Share i = 0; i < shares[s]; ++i) {
            states_[at].symbol = static_cast<uint8_t>(s);
            do at = (at + step) & (size - 1);
            while (at >= end);
        }
    }

    uint16_t next[kMostSymbols];
    for (size_t s = 0; s < shares.size(); ++s)
        next[s] = static_cast<uint16_t>(shares[s] < 0 ? 1 : shares[s]);
    for (uint32_t i = 0; i < size; ++i) {
        State& state = states_[i];
        const uint32_t number = next[state.symbol]++;
        state.bits = static_cast<uint8_t>(log - (std::bit_width(number) - 1));
        state.base = static_cast<uint16_t>((number << state.bits) - size);
    }
    return {};
}

// RFC 8878, 4.1.1. A share is written as its value and one more, in just as many bits as the
// largest that is still possible needs; where that is not all ones, the lowest values take one bit
// less.
Result<size_t> FseTable::read(Bytes bytes, unsigned most_log, size_t most_symbols) {
    BitReader bits(bytes);
    bits.refill();
    const unsigned log = 5 + bits.take(4);
    if (log > most_log) return Errno::kEINVAL;
    Share shares[kMostSymbols];
    size_t symbols = 0;
    for (uint32_t left = 1u << log; left;) {
        if (symbols == most_symbols) return Errno::kEINVAL;
        bits.refill();
        const uint32_t largest = left + 1;
        const auto width = static_cast<unsigned>(std::bit_width(largest));
        const uint32_t short_values = (1u << width) - 1 - largest;
        const uint32_t half = 1u << (width - 1);
        uint32_t value = bits.peek(width);
        if ((value & (half - 1)) < short_values) {
            value &= half - 1;
            bits.skip(width - 1);
        } else {
            if (value >= half) value -= short_values;
            bits.skip(width);
        }
        const auto share = static_cast<Share>(static_cast<int>(value) - 1);
        shares[symbols++] = share;
        left -= share < 0 ? 1 : static_cast<uint32_t>(share);
        if (share != 0) continue;
        for (uint32_t zeros = 3; zeros == 3;) {  // so many more follow; three: and still more
            bits.refill();
            zeros = bits.take(2);
            if (zeros > most_symbols - symbols) return Errno::kEINVAL;
            for (uint32_t i = 0; i < zeros; ++i) shares[symbols++] = 0;
        }
    }
    const Bytes rest = TRY(bits.rest());
    TRY(set(std::span(shares).first(symbols), log));
    return bytes.size() - rest.size();
}

}  // namespace hv::boot::zstd

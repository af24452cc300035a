#include "hv/x86/boot/unpack/zstd/huffman.hpp"

#include <bit>

namespace hv::boot::zstd {

// A description's first byte: below 128 the size of weights packed by FSE, else 127 and the number
// of weights in four bits each. The last symbol's weight is never told: it makes the sum complete.
Result<size_t> HuffmanTable::read(Bytes bytes) {
    constexpr uint8_t kFirstPlain = 128;
    if (bytes.empty()) return Errno::kENODATA;
    const uint8_t kind = bytes[0];
    const size_t told = kind < kFirstPlain ? 0 : kind - (kFirstPlain - 1);
    const size_t size = kind < kFirstPlain ? kind : (told + 1) / 2;
    const Bytes description = TRY(slice(bytes, 1, size));

    uint8_t weights[kMostSymbols];
    size_t symbols = told;
    if (kind < kFirstPlain) {
        symbols = TRY(read_packed_weights(description, weights));
    } else {
        for (size_t i = 0; i < told; ++i)
            weights[i] = i % 2 ? description[i / 2] & 0xf : description[i / 2] >> 4;
    }
    TRY(set(weights, symbols));
    return 1 + size;
}

/// Two machines take turns until the bits do not suffice for one's next step: then the other one's
/// symbol is the last. Returns the number of weights.
Result<size_t> HuffmanTable::read_packed_weights(Bytes bytes, Weights weights) {
    constexpr unsigned kMostWeightsLog = 6;
    const size_t table = TRY(weights_.read(bytes, kMostWeightsLog, kMostSymbols));
    BackwardBits bits = TRY(BackwardBits::open(bytes.subspan(table)));
    bits.refill();
    uint32_t turn = weights_.first_state(bits);
    uint32_t other = weights_.first_state(bits);
    if (bits.overrun()) return Errno::kENODATA;
    for (size_t count = 0; count + 2 < kMostSymbols;) {
        weights[count++] = weights_.symbol(turn);
        bits.refill();
        turn = weights_.next_state(turn, bits);
        if (bits.overrun()) {
            weights[count++] = weights_.symbol(other);
            return count;
        }
        const uint32_t swapped = turn;
        turn = other;
        other = swapped;
    }
    return Errno::kEINVAL;
}

/// Weight w, unless 0, is worth 2^(w-1): so many entries of the table are the symbol's. Symbols of
/// small weight, which have the long codes, come first.
Result<> HuffmanTable::set(Weights weights, size_t symbols) {
    log_ = 0;
    uint32_t sum = 0;
    for (size_t s = 0; s < symbols; ++s) {
        if (weights[s] > kMostLog) return Errno::kEINVAL;
        if (weights[s]) sum += 1u << (weights[s] - 1);
    }
    if (sum == 0 || sum >= (1u << kMostLog) || symbols == kMostSymbols) return Errno::kEINVAL;
    const auto log = static_cast<unsigned>(std::bit_width(sum));
    const uint32_t missing = (1u << log) - sum;
    if (!std::has_single_bit(missing)) return Errno::kEINVAL;
    weights[symbols++] = static_cast<uint8_t>(std::bit_width(missing));

    uint32_t at = 0;
    for (unsigned weight = 1; weight <= log; ++weight) {
        for (size_t s = 0; s < symbols; ++s) {
            if (weights[s] != weight) continue;
            const Entry entry{static_cast<uint8_t>(s), static_cast<uint8_t>(log + 1 - weight)};
            for (uint32_t i = 0; i < (1u << (weight - 1)); ++i) entries_[at++] = entry;
        }
    }
    log_ = log;
    return {};
}

Result<> HuffmanTable::decode(Bytes stream, std::span<uint8_t> output) const {
    constexpr unsigned kAtOnce = BackwardBits::kRefilled / kMostLog;
    BackwardBits bits = TRY(BackwardBits::open(stream));
    const unsigned log = log_;
    uint8_t* out = output.data();
    uint8_t* const end = out + output.size();
    const auto next = [&] {
        const Entry entry = entries_[bits.peek(log)];
        bits.skip(entry.bits);
        *out++ = entry.symbol;
    };
    while (end - out >= static_cast<ptrdiff_t>(kAtOnce)) {
        bits.refill();
#pragma GCC unroll 5
        for (unsigned i = 0; i < kAtOnce; ++i) next();
    }
    bits.refill();
    while (out != end) next();
    if (bits.overrun()) return Errno::kENODATA;
    return bits.finished() ? Result<>() : Errno::kEINVAL;
}

}  // namespace hv::boot::zstd

#include "hv/x86/boot/unpack/prefix_code.hpp"

namespace hv::boot {

Result<> PrefixCode::set(std::span<const uint8_t> lengths) {
    for (auto& count : count_) count = 0;
    for (const uint8_t length : lengths) ++count_[length];
    count_[0] = 0;

    uint16_t next_index[kLongest + 1];  // in symbols_, for each length
    uint32_t next_code[kLongest + 1];
    uint16_t index = 0;
    uint32_t code = 0;
    for (unsigned length = 1; length <= kLongest; ++length) {
        code <<= 1;
        next_code[length] = code;
        next_index[length] = index;
        code += count_[length];
        index = static_cast<uint16_t>(index + count_[length]);
        if (code > (1u << length)) return Errno::kEINVAL;
    }
    if (code != (1u << kLongest) && index > 1) return Errno::kEINVAL;

    for (auto& entry : fast_) entry = 0;
    for (uint32_t symbol = 0; symbol < lengths.size(); ++symbol) {
        const unsigned length = lengths[symbol];
        if (length == 0) continue;
        symbols_[next_index[length]++] = static_cast<uint16_t>(symbol);
        if (length <= kFastBits) fill_fast(symbol, length, next_code[length]++);
    }
    return {};
}

/// A code comes with its highest bit first, whereas bits are numbered from the lowest on: turned
/// round, it is the index's low end, and whatever follows it the high end.
void PrefixCode::fill_fast(uint32_t symbol, unsigned length, uint32_t code) {
    uint32_t turned = 0;
    for (unsigned bit = 0; bit < length; ++bit) turned |= (code >> bit & 1) << (length - 1 - bit);
    for (uint32_t i = turned; i < (1u << kFastBits); i += 1u << length)
        fast_[i] = static_cast<uint16_t>(symbol << 4 | length);
}

/// The entry for the code in `next_bits`, bit by bit, from the shortest code on: `first` is the
/// first code of the length at hand.
uint32_t PrefixCode::find_long(uint32_t next_bits) const {
    uint32_t code = 0, first = 0, index = 0;
    for (unsigned length = 1; length <= kLongest; ++length) {
        code |= next_bits & 1;
        next_bits >>= 1;
        const uint32_t count = count_[length];
        if (code < first + count) return uint32_t{symbols_[index + (code - first)]} << 4 | length;
        index += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    return kNoSymbol << 4 | kLongest;
}

}  // namespace hv::boot

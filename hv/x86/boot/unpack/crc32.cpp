#include "hv/x86/boot/unpack/crc32.hpp"

#include <array>

namespace hv::boot {
namespace {

constexpr uint32_t kPolynomial = 0xEDB88320;
constexpr size_t kSlices = 8;

using Table = std::array<std::array<uint32_t, 256>, kSlices>;

// table[k][b]: what byte b does to the CRC when k more bytes follow it. Eight bytes are then eight
// independent look-ups ("slicing by 8"): the CRC runs over all 63 MiB of an unpacked kernel.
constexpr Table make_table() {
    Table table{};
    for (uint32_t b = 0; b < 256; ++b) {
        uint32_t crc = b;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? kPolynomial : 0);
        table[0][b] = crc;
    }
    for (size_t k = 1; k < kSlices; ++k)
        for (uint32_t b = 0; b < 256; ++b)
            table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 0xff];
    return table;
}

constexpr Table kTable = make_table();

}  // namespace

uint32_t crc32(std::span<const uint8_t> bytes, uint32_t crc) {
    const uint8_t* at = bytes.data();
    size_t left = bytes.size();
    crc = ~crc;
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word;
        __builtin_memcpy(&word, at, sizeof word);
        word ^= crc;
        crc = kTable[7][word & 0xff] ^ kTable[6][(word >> 8) & 0xff] ^
              kTable[5][(word >> 16) & 0xff] ^ kTable[4][(word >> 24) & 0xff] ^
              kTable[3][(word >> 32) & 0xff] ^ kTable[2][(word >> 40) & 0xff] ^
              kTable[1][(word >> 48) & 0xff] ^ kTable[0][word >> 56];
    }
    for (; left; --left) crc = (crc >> 8) ^ kTable[0][(crc ^ *at++) & 0xff];
    return ~crc;
}

}  // namespace hv::boot

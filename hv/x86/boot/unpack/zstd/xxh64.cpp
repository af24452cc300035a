#include "hv/x86/boot/unpack/zstd/xxh64.hpp"

#include <bit>

namespace hv::boot::zstd {
namespace {

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4F;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5;

template <class T>
uint64_t load_number(const uint8_t* at) {
    T value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

uint64_t round(uint64_t lane, uint64_t input) {
    return std::rotl(lane + input * kPrime2, 31) * kPrime1;
}

uint64_t merge(uint64_t sum, uint64_t lane) {
    return (sum ^ round(0, lane)) * kPrime1 + kPrime4;
}

}  // namespace

uint64_t xxh64(std::span<const uint8_t> bytes) {
    const uint8_t* at = bytes.data();
    size_t left = bytes.size();
    uint64_t sum = kPrime5;
    if (left >= 32) {
        uint64_t a = kPrime1 + kPrime2, b = kPrime2, c = 0, d = 0 - kPrime1;
        for (; left >= 32; left -= 32, at += 32) {
            a = round(a, load_number<uint64_t>(at));
            b = round(b, load_number<uint64_t>(at + 8));
            c = round(c, load_number<uint64_t>(at + 16));
            d = round(d, load_number<uint64_t>(at + 24));
        }
        sum = std::rotl(a, 1) + std::rotl(b, 7) + std::rotl(c, 12) + std::rotl(d, 18);
        for (const uint64_t lane : {a, b, c, d}) sum = merge(sum, lane);
    }
    sum += bytes.size();
    for (; left >= 8; left -= 8, at += 8)
        sum = std::rotl(sum ^ round(0, load_number<uint64_t>(at)), 27) * kPrime1 + kPrime4;
    if (left >= 4) {
        sum = std::rotl(sum ^ (load_number<uint32_t>(at) * kPrime1), 23) * kPrime2 + kPrime3;
        left -= 4, at += 4;
    }
    for (; left; --left, ++at) sum = std::rotl(sum ^ (*at * kPrime5), 11) * kPrime1;
    sum = (sum ^ (sum >> 33)) * kPrime2;
    sum = (sum ^ (sum >> 29)) * kPrime3;
    return sum ^ (sum >> 32);
}

}  // namespace hv::boot::zstd

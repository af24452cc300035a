// What follows each opcode byte, as data.
#pragma once

#include <array>
#include <cstdint>

namespace hv::emulate {

enum OpcodeFlags : uint16_t {
    kPlain = 0,
    kModRm = 1 << 0,
    kByte = 1 << 1,  // operands are bytes
    kImm8 = 1 << 2,  // sign-extended
    kImmZ = 1 << 3,  // 2 or 4 bytes, sign-extended
    kImmV = 1 << 4,  // 2, 4 or 8 bytes
    kImm16 = 1 << 5,
    kOffset = 1 << 6,   // an address, as wide as addresses are
    kStack64 = 1 << 7,  // 8 bytes in 64-bit mode without REX.W
    kGroup3 = 1 << 8,   // an immediate with ModRM.reg 0 and 1 only
    kPrefix = 1 << 9,
    kNot64 = 1 << 10,  // invalid in 64-bit mode
    kInvalid = 1 << 11,
    kUnknown = 1 << 12,  // valid, not decoded here
    kUnsignedImm8 = 1 << 13,
};

namespace table_detail {

constexpr uint16_t M = kModRm, B = kByte, I8 = kImm8, IZ = kImmZ, IV = kImmV, I16 = kImm16,
                   O = kOffset, S = kStack64, G3 = kGroup3, P = kPrefix, N = kNot64, X = kInvalid,
                   U = kUnknown, U8 = kUnsignedImm8, _ = kPlain;

}  // namespace table_detail

// clang-format off
constexpr std::array<uint16_t, 256> make_one_byte_map() {
    using namespace table_detail;
    return {
    // 0     1    2      3    4     5   6    7    8     9    a      b    c     d   e    f
    M|B,     M,   M|B,   M,   B|I8, IZ, N,   N,   M|B,  M,   M|B,   M,   B|I8, IZ, N,   P,     // 0
    M|B,     M,   M|B,   M,   B|I8, IZ, N,   N,   M|B,  M,   M|B,   M,   B|I8, IZ, N,   N,     // 1
    M|B,     M,   M|B,   M,   B|I8, IZ, P,   N,   M|B,  M,   M|B,   M,   B|I8, IZ, P,   N,     // 2
    M|B,     M,   M|B,   M,   B|I8, IZ, P,   N,   M|B,  M,   M|B,   M,   B|I8, IZ, P,   N,     // 3
    _,       _,   _,     _,   _,    _,  _,   _,   _,    _,   _,     _,   _,    _,  _,   _,     // 4
    S,       S,   S,     S,   S,    S,  S,   S,   S,    S,   S,     S,   S,    S,  S,   S,     // 5
    N,       N,   U,     M,   P,    P,  P,   P,   S|IZ, M|IZ, S|I8, M|I8, B,   _,  B,   _,     // 6
    I8,      I8,  I8,    I8,  I8,   I8, I8,  I8,  I8,   I8,  I8,    I8,  I8,   I8, I8,  I8,    // 7
    M|B|I8,  M|IZ, N|M|B|I8, M|I8, M|B, M, M|B, M, M|B, M,   M|B,   M,   M,    M,  M,   S|M,   // 8
    _,       _,   _,     _,   _,    _,  _,   _,   _,    _,   U,     _,   S,    S,  _,   _,     // 9
    B|O,     O,   B|O,   O,   B,    _,  B,   _,   B|I8, IZ,  B,     _,   B,    _,  B,   _,     // a
    B|I8,    B|I8, B|I8, B|I8, B|I8, B|I8, B|I8, B|I8, IV, IV, IV,  IV,  IV,   IV, IV,  IV,    // b
    M|B|U8,  M|U8, S|I16, S,  U,    U,  M|B|I8, M|IZ, S|I16|U8, S, I16, _, _,  U8, N,   _,     // c
    M|B,     M,   M|B,   M,   N|U8, N|U8, X, B,   M,    M,   M,     M,   M,    M,  M,   M,     // d
    I8,      I8,  I8,    I8,  B|U8, U8, B|U8, U8, S|IZ, S|IZ, U,    I8,  B,    _,  B,   _,     // e
    P,       _,   P,     P,   _,    _,  M|B|G3, M|G3, _, _,  _,     _,   _,    _,  M|B, M,     // f
    };
}

constexpr std::array<uint16_t, 256> make_0f_map() {
    using namespace table_detail;
    return {
    // 0     1    2      3    4     5   6    7    8     9    a      b    c     d   e    f
    M,       M,   M,     M,   X,    _,  _,   _,   _,    _,   X,     _,   X,    M,  _,   U,     // 0
    M,       M,   M,     M,   M,    M,  M,   M,   M,    M,   M,     M,   M,    M,  M,   M,     // 1
    U,       U,   U,     U,   X,    X,  X,   X,   M,    M,   M,     M,   M,    M,  M,   M,     // 2
    _,       _,   _,     _,   _,    _,  X,   _,   U,    X,   U,     X,   X,    X,  X,   X,     // 3
    M,       M,   M,     M,   M,    M,  M,   M,   M,    M,   M,     M,   M,    M,  M,   M,     // 4
    M,       M,   M,     M,   M,    M,  M,   M,   M,    M,   M,     M,   M,    M,  M,   M,     // 5
    M,       M,   M,     M,   M,    M,  M,   M,   M,    M,   M,     M,   M,    M,  M,   M,     // 6
    M|U8,    M|U8, M|U8, M|U8, M,   M,  M,   _,   U,    U,   X,     X,   M,    M,  M,   M,     // 7
    IZ,      IZ,  IZ,    IZ,  IZ,   IZ, IZ,  IZ,  IZ,   IZ,  IZ,    IZ,  IZ,   IZ, IZ,  IZ,    // 8
    M|B,     M|B, M|B,   M|B, M|B,  M|B, M|B, M|B, M|B, M|B, M|B,   M|B, M|B,  M|B, M|B, M|B,  // 9
    S,       S,   _,     M,   M|U8, M,  X,   X,   S,    S,   _,     M,   M|U8, M,  M,   M,     // a
    M|B,     M,   M,     M,   M,    M,  M,   M,   M,    M,   M|U8,  M,   M,    M,  M,   M,     // b
    M|B,     M,   M|U8,  M,   M|U8, M|U8, M|U8, M, _,   _,   _,     _,   _,    _,  _,   _,     // c
    M,       M,   M,     M,   M,    M,  M,   M,   M,    M,   M,     M,   M,    M,  M,   M,     // d
    M,       M,   M,     M,   M,    M,  M,   M,   M,    M,   M,     M,   M,    M,  M,   M,     // e
    M,       M,   M,     M,   M,    M,  M,   M,   M,    M,   M,     M,   M,    M,  M,   M,     // f
    };
}
// clang-format on

inline constexpr std::array<uint16_t, 256> kOneByteMap = make_one_byte_map();
inline constexpr std::array<uint16_t, 256> k0fMap = make_0f_map();

}  // namespace hv::emulate

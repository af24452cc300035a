// Arithmetic as the CPU does it, with flags (AMD APM volume 3, the instructions' pages).
#pragma once

#include <cstdint>

namespace hv::emulate {

enum class AluOp : uint8_t {
    kAdd,
    kOr,
    kAdc,
    kSbb,
    kAnd,
    kSub,
    kXor,
    kCmp,  // in this order in opcodes and in group 1
    kInc,
    kDec,
    kNot,
    kNeg,
    kBts,
    kBtr,
    kBtc,
};

struct AluResult {
    uint64_t value;   ///< cut to the operand's size
    uint64_t rflags;  ///< all of them: those the operation leaves alone are as they were
};

/// `destination` op `source`, both `size` (1, 2, 4, 8) bytes. Bit operations take the bit's number
/// in `source`. Flags that the manual leaves undefined stay as they were, but for AF, which the
/// logical operations clear.
AluResult alu(AluOp op, uint64_t destination, uint64_t source, unsigned size, uint64_t rflags);

}  // namespace hv::emulate

#include "hv/x86/emulate/alu.hpp"

#include <bit>

#include "hv/x86/cpu/bits.hpp"
#include "hv/x86/emulate/registers.hpp"

namespace hv::emulate {
namespace {

using namespace eflags;

uint64_t with(uint64_t rflags, uint64_t flag, bool on) {
    return on ? rflags | flag : rflags & ~flag;
}

/// ZF, SF and PF follow from the result alone.
uint64_t result_flags(uint64_t rflags, uint64_t value, unsigned size) {
    rflags = with(rflags, kZf, value == 0);
    rflags = with(rflags, kSf, (value >> (8 * size - 1)) & 1);
    return with(rflags, kPf, std::popcount(value & 0xff) % 2 == 0);
}

/// a + b + carry. A carry out of bit n shows as a ^ b ^ sum in bit n + 1.
AluResult add(uint64_t a, uint64_t b, bool carry, unsigned size, uint64_t rflags) {
    uint64_t value = (a + b + carry) & size_mask(size);
    unsigned top = 8 * size - 1;
    uint64_t carries = (a & b) | ((a | b) & ~value);
    rflags = with(rflags, kCf, (carries >> top) & 1);
    rflags = with(rflags, kOf, (((a ^ value) & (b ^ value)) >> top) & 1);
    rflags = with(rflags, kAf, (carries >> 3) & 1);
    return {value, result_flags(rflags, value, size)};
}

AluResult subtract(uint64_t a, uint64_t b, bool borrow, unsigned size, uint64_t rflags) {
    uint64_t value = (a - b - borrow) & size_mask(size);
    unsigned top = 8 * size - 1;
    uint64_t borrows = (~a & b) | ((~a | b) & value);
    rflags = with(rflags, kCf, (borrows >> top) & 1);
    rflags = with(rflags, kOf, (((a ^ b) & (a ^ value)) >> top) & 1);
    rflags = with(rflags, kAf, (borrows >> 3) & 1);
    return {value, result_flags(rflags, value, size)};
}

AluResult logical(uint64_t value, unsigned size, uint64_t rflags) {
    return {value, result_flags(rflags & ~(kCf | kOf | kAf), value, size)};
}

AluResult bit_operation(AluOp op, uint64_t value, uint64_t number, unsigned size, uint64_t rflags) {
    uint64_t bit = uint64_t{1} << (number & (8 * size - 1));
    rflags = with(rflags, kCf, value & bit);
    if (op == AluOp::kBts) value |= bit;
    if (op == AluOp::kBtr) value &= ~bit;
    if (op == AluOp::kBtc) value ^= bit;
    return {value, rflags};
}

/// INC and DEC are additions of one that leave CF alone.
AluResult keep_carry(AluResult result, uint64_t rflags) {
    result.rflags = (result.rflags & ~kCf) | (rflags & kCf);
    return result;
}

}  // namespace

AluResult alu(AluOp op, uint64_t destination, uint64_t source, unsigned size, uint64_t rflags) {
    uint64_t a = destination & size_mask(size), b = source & size_mask(size);
    bool carry = rflags & kCf;
    switch (op) {
        case AluOp::kAdd:
            return add(a, b, false, size, rflags);
        case AluOp::kAdc:
            return add(a, b, carry, size, rflags);
        case AluOp::kSub:
            return subtract(a, b, false, size, rflags);
        case AluOp::kSbb:
            return subtract(a, b, carry, size, rflags);
        case AluOp::kCmp:
            return {a, subtract(a, b, false, size, rflags).rflags};
        case AluOp::kOr:
            return logical(a | b, size, rflags);
        case AluOp::kAnd:
            return logical(a & b, size, rflags);
        case AluOp::kXor:
            return logical(a ^ b, size, rflags);
        case AluOp::kInc:
            return keep_carry(add(a, 1, false, size, rflags), rflags);
        case AluOp::kDec:
            return keep_carry(subtract(a, 1, false, size, rflags), rflags);
        case AluOp::kNot:
            return {~a & size_mask(size), rflags};
        case AluOp::kNeg:
            return subtract(0, a, false, size, rflags);
        default:
            return bit_operation(op, a, source, size, rflags);
    }
}

}  // namespace hv::emulate

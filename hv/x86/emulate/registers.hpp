// A guest's general registers by the numbers that instructions use.
#pragma once

#include <cstddef>
#include <cstdint>

#include "arch/vcpu.hpp"

namespace hv::emulate {

using arch::Registers;

/// Numbers of general registers in ModRM, SIB and REX.
enum Gpr : uint8_t { kRax, kRcx, kRdx, kRbx, kRsp, kRbp, kRsi, kRdi, kR8 };

/// Where register `n` (0 … 15) lies in the frame.
inline constexpr uint8_t kGprOffset[16] = {
    offsetof(Registers, rax), offsetof(Registers, rcx), offsetof(Registers, rdx),
    offsetof(Registers, rbx), offsetof(Registers, rsp), offsetof(Registers, rbp),
    offsetof(Registers, rsi), offsetof(Registers, rdi), offsetof(Registers, r8),
    offsetof(Registers, r9),  offsetof(Registers, r10), offsetof(Registers, r11),
    offsetof(Registers, r12), offsetof(Registers, r13), offsetof(Registers, r14),
    offsetof(Registers, r15)};

inline uint64_t& gpr(Registers& regs, unsigned n) {
    return *reinterpret_cast<uint64_t*>(reinterpret_cast<char*>(&regs) + kGprOffset[n & 15]);
}
inline uint64_t gpr(const Registers& regs, unsigned n) {
    return gpr(const_cast<Registers&>(regs), n);
}

/// The low `size` bytes (1, 2, 4, 8) set.
constexpr uint64_t size_mask(unsigned size) {
    return size >= 8 ? ~uint64_t{0} : (uint64_t{1} << (size * 8)) - 1;
}

/// Writes a result as the CPU does: 4 bytes clear the upper half, 1 and 2 leave the rest alone.
inline void merge_gpr(uint64_t& reg, uint64_t value, unsigned size) {
    if (size >= 4)
        reg = value & size_mask(size);
    else
        reg = (reg & ~size_mask(size)) | (value & size_mask(size));
}

}  // namespace hv::emulate

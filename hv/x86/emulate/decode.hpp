// From bytes to an instruction (AMD APM volume 3, chapter 1; Intel SDM volume 2, chapter 2).
//
//   prefixes   REX   [0F] opcode   ModRM   SIB   displacement   immediate
//   any order  last
//
// Knows lengths and operands of the one-byte map and the 0F map, except for VEX, EVEX, 3DNow! and
// the 0F38 and 0F3A maps, which nothing that is emulated needs.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::emulate {

inline constexpr size_t kMaxInstructionBytes = 15;

/// What code segment the instruction is in. 16-bit code is not decoded (kEOPNOTSUPP).
enum class Mode : uint8_t { k64, k32 };

enum class Map : uint8_t { kOneByte, k0F };

enum class Segment : uint8_t { kEs, kCs, kSs, kDs, kFs, kGs, kDefault };

struct Instruction {
    static constexpr uint8_t kNoRegister = 0xff;
    static constexpr uint8_t kRip = 0xfe;  ///< base: the address of the next instruction

    uint8_t length = 0;
    Map map = Map::kOneByte;
    uint8_t opcode = 0;
    uint8_t operand_size = 0;  ///< 1, 2, 4 or 8 bytes
    uint8_t address_size = 0;  ///< 4 or 8
    bool lock = false;
    bool rep = false;    ///< F3
    bool repne = false;  ///< F2
    bool rex = false;    ///< some REX: byte registers 4–7 are SPL…DIL, not AH…BH
    Segment segment = Segment::kDefault;

    bool has_modrm = false;
    uint8_t mod = 0;
    uint8_t reg = 0;         ///< ModRM.reg with REX.R: a register, or more of the opcode (& 7)
    uint8_t rm = 0;          ///< ModRM.rm with REX.B, when is_memory is false
    bool is_memory = false;  ///< ModRM names memory: base + index * scale + displacement
    uint8_t base = kNoRegister;
    uint8_t index = kNoRegister;
    uint8_t scale = 1;
    int64_t displacement = 0;  ///< also the address in A0…A3
    int64_t immediate = 0;     ///< sign-extended as the opcode says

    bool is(Map m, uint8_t op) const { return map == m && opcode == op; }
};

/// kENODATA: more bytes are needed than `bytes` has; kEINVAL: no valid instruction (#UD, or #GP
/// beyond 15 bytes); kEOPNOTSUPP: valid, but not known here.
Result<Instruction> decode(std::span<const uint8_t> bytes, Mode mode);

}  // namespace hv::emulate

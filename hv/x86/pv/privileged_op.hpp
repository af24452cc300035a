// One privileged instruction on its way through privileged.cpp and string_io.cpp.
#pragma once

#include "hv/domain/vcpu.hpp"

namespace hv::pv {

enum class Answer : uint8_t {
    kDone,      ///< carried out: rip moves behind it
    kRefused,   ///< #GP for the guest
    kInjected,  ///< the guest was handed another exception
    kAgain,     ///< interrupted: the instruction runs again
};

struct PrivilegedOp {
    PrivilegedOp(arch::Registers& r, Vcpu& v) : regs(r), vcpu(v) {}

    arch::Registers& regs;
    Vcpu& vcpu;
    uint16_t opcode = 0;  ///< 0x100 + the byte behind 0F, or the one byte
    uint8_t length = 0;
    uint8_t rex = 0;
    uint8_t modrm = 0;
    uint8_t immediate = 0;
    uint8_t segment = 0;  ///< the prefix 64 (FS) or 65 (GS), or 0
    bool operand16 = false;
    bool address32 = false;
    bool repeat = false;
    bool again = false;        ///< a repetition goes on: rip stays
    uint32_t breakpoints = 0;  ///< bits for DR6: breakpoints on ports that it met

    unsigned modrm_reg() const { return ((modrm >> 3) & 7) | ((rex & 4) << 1); }
    unsigned modrm_rm() const { return (modrm & 7) | ((rex & 1) << 3); }
};

/// IN and OUT, port in the immediate or in DX.
Answer port_io(PrivilegedOp& op);
/// INS and OUTS, with REP in pieces.
Answer string_io(PrivilegedOp& op);

}  // namespace hv::pv

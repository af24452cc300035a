// Privileged instructions of a PV guest's kernel: ring 3 has no right to them, so they arrive as
// #GP, are carried out here on the guest's virtual machine state, and the guest goes on behind.
#pragma once

#include "arch/vcpu.hpp"

namespace hv::pv {

/// From #GP with error code 0 in the current vCPU. True: the instruction is done (rip is behind
/// it), or an exception of its own was handed to the guest; go back to the guest. False: it is not
/// ours or not permitted, `regs` are untouched, the guest gets the #GP.
bool emulate_privileged(arch::Registers& regs);

/// From #UD: the forced-emulation prefix (ud2, "xen") in front of CPUID, with which a PV guest
/// asks for CPUID as the hypervisor answers it. False: the guest gets the #UD.
bool emulate_invalid_opcode(arch::Registers& regs);

}  // namespace hv::pv

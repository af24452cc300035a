// Debug registers of PV guests. The real ones hold the running vCPU's values while it uses
// breakpoints (DR7 enables any).
#pragma once

#include "base/result.hpp"
#include "hv/domain/vcpu.hpp"
#include "hv/x86/cpu/bits.hpp"

namespace hv::pv {

inline constexpr uint64_t kDr6Reserved = 0xffff0ff0;  ///< reads as ones
inline constexpr uint64_t kDr6SingleStep = 1 << 14;
inline constexpr uint64_t kDr7Reserved = 0x400;
inline constexpr uint64_t kDr7Enables = 0xff;

/// kENODEV: no such register (#UD); kEINVAL: reserved bits (#GP); kEPERM: a breakpoint that a guest
/// may not have, such as one in the hypervisor. Changes the real register if `vcpu` is current.
Result<> set_debug_register(Vcpu& vcpu, unsigned number, uint64_t value);
/// kENODEV, as above.
Result<uint64_t> get_debug_register(const Vcpu& vcpu, unsigned number);

/// For the context switch: the real registers for `next`; off if it uses none.
void load_debug_registers(const Vcpu& next);
/// DR6's real value goes into the vCPU's (on #DB), so that the guest finds the reason there.
void note_debug_status(Vcpu& vcpu, uint64_t dr6);

/// #DB for the current vCPU, with `reasons` (bits of DR6).
void inject_debug(Vcpu& vcpu, uint64_t reasons);

/// What follows an emulated instruction of the current vCPU, once rip is where it goes on: RF is
/// cleared, and #DB comes for single-stepping or for `breakpoints` (bits of DR6).
inline void after_instruction(Vcpu& vcpu, arch::Registers& regs, uint64_t breakpoints = 0) {
    regs.rflags &= ~eflags::kRf;
    if (breakpoints | (regs.rflags & eflags::kTf)) [[unlikely]]
        inject_debug(vcpu, breakpoints | (regs.rflags & eflags::kTf ? kDr6SingleStep : 0));
}

/// The breakpoints of `vcpu` on I/O ports (CR4.DE) that this access hits, as bits of DR6: ports are
/// accessed by the hypervisor, so the CPU does not see them.
uint32_t io_breakpoints_hit(const Vcpu& vcpu, uint16_t port, unsigned bytes);

}  // namespace hv::pv

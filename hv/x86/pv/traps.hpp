// Handing exceptions and events to a PV guest's kernel: a frame on its stack, as its trap table
// and callbacks say (the "bounce frame"; layout in xen-x86_64.h and TRAPS.md).
#pragma once

#include "hv/domain/vcpu.hpp"

namespace hv::pv {

/// VM assist: the guest finds and sets its virtual IOPL in the flags of its frames.
inline constexpr uint64_t kArchitecturalIopl = uint64_t{1} << VMASST_TYPE_architectural_iopl;

inline constexpr uint8_t kNmiVector = 2;

/// Queue-less: the registers of the current vCPU are changed at once, so that it continues in its
/// handler. A frame that cannot be written kills the domain.
void inject_trap(uint8_t vector);
void inject_trap(uint8_t vector, uint32_t error_code);
void inject_page_fault(uint64_t cr2, uint32_t error_code);
/// Continues in the failsafe callback: one of `wanted`'s data selectors could not be loaded.
void inject_failsafe(const arch::Registers& wanted);
/// The system call callback, for `syscall` in the guest's user mode.
void inject_syscall();
/// The same for 32-bit user code; #UD if the kernel wants none.
void inject_syscall32();
/// `int $0x80`, the one vector that user code may raise directly (its gate has DPL 3).
void guest_int80(arch::Registers& regs);
/// A page fault, #GP, #SS or #NP while IRET or SYSRET entered the guest, whose frame is back in
/// place: the guest gets it as an exception of the code it wanted to go to.
void inject_return_fault(uint8_t vector, uint32_t error_code, uint64_t cr2);
/// The current vCPU's NMI, if one is pending and not masked; without a handler it is lost, as on
/// Xen.
void deliver_nmi();
/// Where the current vCPU's NMIs go (callback.h, nmi.h): into entry 2 of its trap table, the same
/// that a kernel may write by set_trap_table. -EINVAL for an address out of range, and on any vCPU
/// but 0.
Result<> register_nmi_handler(uint64_t address);
void unregister_nmi_handler();
/// The event callback, if an event is pending and unmasked.
void deliver_events();

}  // namespace hv::pv

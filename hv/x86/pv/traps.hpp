// Handing exceptions and events to a PV guest's kernel: a frame on its stack, as its trap table
// and callbacks say (the "bounce frame"; layout in xen-x86_64.h and TRAPS.md).
#pragma once

#include "hv/domain/vcpu.hpp"

namespace hv::pv {

/// Queue-less: the registers of the current vCPU are changed at once, so that it continues in its
/// handler. A frame that cannot be written kills the domain.
void inject_trap(uint8_t vector);
void inject_trap(uint8_t vector, uint32_t error_code);
void inject_page_fault(uint64_t cr2, uint32_t error_code);
/// Continues in the failsafe callback (a bad segment or frame at iret).
void inject_failsafe();
/// The system call callback, for `syscall` in the guest's user mode.
void inject_syscall();
/// The event callback, if an event is pending and unmasked.
void deliver_events();

}  // namespace hv::pv

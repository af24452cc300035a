// Event channels of the two-level ABI: binding, and the bits in shared_info.
#pragma once

#include "platform.hpp"

namespace guest {

using Port = evtchn_port_t;

/// Each fails the test when the hypervisor refuses.
Port alloc_unbound(unsigned remote = DOMID_SELF);
Port bind_interdomain(Port remote_port, unsigned remote = DOMID_SELF);
Port bind_virq(unsigned virq, unsigned vcpu = 0);
Port bind_ipi(unsigned vcpu = 0);

long send_event(Port port);
long close_port(Port port);
long unmask_port(Port port);
evtchn_status_t port_status(Port port);

bool pending(Port port);
void set_masked(Port port, bool masked);
/// Clears the port's bit, its selector bit and the upcall flag of the boot vCPU.
void clear_pending(Port port);
void clear_all_pending();

/// Counts upcalls; clears every pending bit. For set_handler(kEvent, ...).
extern volatile unsigned upcalls;
bool count_upcall(struct TrapFrame& frame);
/// Enables upcalls of the boot vCPU, taking one that is pending already (as Linux does by hand:
/// the hypervisor looks at the mask only when it delivers).
void enable_upcalls();
void disable_upcalls();

}  // namespace guest

// Event channels, as the other rooms use them. The hypercall is in hv/event/event_channel_op.cpp.
// Sending and the notifications below take no lock (RCU); binding and closing take Rank::kEvent.
#pragma once

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv {

struct Domain;
struct Vcpu;
class EventChannels;  // a domain's ports; hv/event/channels.hpp

namespace event {

/// Creates / tears down a domain's ports. Teardown closes them all (peers see them unbound) and
/// may be repeated; it stops early with true when preempt_requested().
Result<> init_domain(Domain& domain);
bool close_all(Domain& domain);
void destroy_domain(Domain& domain);

/// Raises a virtual interrupt: per-vCPU ones on `vcpu`, global ones on the domain's bound vCPU.
void send_virq(Vcpu& vcpu, uint32_t virq);
void send_global_virq(Domain& domain, uint32_t virq);
/// To the domain that handles `virq` for the host (VIRQ_CONSOLE, VIRQ_DOM_EXC …): Domain 0, or
/// whom XEN_DOMCTL_set_virq_handler named, as long as it lives.
void send_host_virq(uint32_t virq);
/// kEINVAL: no such VIRQ, or one that vCPUs have for themselves.
Result<> set_host_virq_handler(uint32_t virq, Domain& handler);

/// A physical interrupt of `domain` has come; false if nobody is bound to it.
bool send_pirq(Domain& domain, Pirq pirq);

/// A port that the hypervisor itself opens for a guest towards `remote` (console, ioreq).
Result<Port> alloc_unbound(Domain& domain, DomId remote);

/// Whether an unmasked event is pending for `vcpu` (its upcall is to be delivered).
bool has_pending(const Vcpu& vcpu);
/// Marks every event word pending: after vcpu_info moved (VCPUOP_register_vcpu_info).
void mark_all_pending(Vcpu& vcpu);
bool port_pending(Domain& domain, Port port);  ///< false for ports that do not exist
bool port_valid(Domain& domain, Port port);

/// SCHEDOP_poll. The caller sets pause::kBlocked, then begin_poll() with the one port or
/// kPollSeveral, then looks at its ports once more (port_pending): an event from then on ends the
/// block. clear_poll() takes `vcpu` out again: after that look, on time-out, and when it wakes.
inline constexpr uint32_t kPollSeveral = ~uint32_t{0};
void begin_poll(Vcpu& vcpu, uint32_t port);
void clear_poll(Vcpu& vcpu);

/// Unmasks the port a physical interrupt is bound to (PHYSDEVOP_eoi with auto-unmask).
void unmask_pirq(Domain& domain, Pirq pirq);

/// For debug key 'e' and lsevtchn.
void dump(Domain& domain);

}  // namespace event
}  // namespace hv

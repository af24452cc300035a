// HYPERVISOR_event_channel_op: copies the argument in, asks the policy, calls the operation and
// copies its answer out. <xen/event_channel.h> describes them.
#include "arch/cpu.hpp"
#include "arch/irq.hpp"
#include "hv/event/bind.hpp"
#include "hv/event/channels.hpp"
#include "hv/event/event.hpp"
#include "hv/event/fifo.hpp"
#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/policy/policy.hpp"
#include "hv/sched/sched.hpp"

namespace hv {
namespace {

using event::Channel;
using event::ChannelState;

/// Between us and ourselves: EVTCHNOP_reset on its way (the header keeps it for hypervisors).
constexpr uint64_t kResetContinued = 14;

Domain& self() {
    return *arch::current().domain;
}

DomId resolved(domid_t id) {
    return id == DOMID_SELF ? self().id : DomId{id};
}

/// Tells the guest its new port; if it cannot be told, the port is closed again.
template <class Op>
Result<> hand_out(Domain& domain, GuestInOut<Op> arg, Op op, evtchn_port_t Op::*field, Port port) {
    op.*field = port.raw();
    Result<> told = arg.store_field(op, field);
    if (!told) (void)event::close_port(domain, port, true);
    return told.ok() ? Result<>{} : Result<>{told.error()};
}

Result<> op_send(GuestAddress address) {
    evtchn_send op;
    TRY(GuestIn<evtchn_send>(address.raw()).fetch(op));
    return event::send(self(), Port{op.port});
}

Result<> op_alloc_unbound(GuestAddress address) {
    GuestInOut<evtchn_alloc_unbound> arg(address.raw());
    auto op = TRY(arg.load());
    DomainRef domain = TRY(Domain::find_or_self(DomId{op.dom}));
    TRY(policy::check(policy::Op::kEventForOther, self(), domain.get()));
    Port port = TRY(event::alloc_unbound_port(*domain, resolved(op.remote_dom)));
    return hand_out(*domain, arg, op, &evtchn_alloc_unbound::port, port);
}

Result<> op_bind_interdomain(GuestAddress address) {
    GuestInOut<evtchn_bind_interdomain> arg(address.raw());
    auto op = TRY(arg.load());
    DomainRef remote = TRY(Domain::find_or_self(DomId{op.remote_dom}));
    TRY(policy::check(policy::Op::kSendTo, self(), remote.get()));
    Port port = TRY(event::bind_interdomain(self(), *remote, Port{op.remote_port}));
    return hand_out(self(), arg, op, &evtchn_bind_interdomain::local_port, port);
}

Result<> op_bind_virq(GuestAddress address) {
    GuestInOut<evtchn_bind_virq> arg(address.raw());
    auto op = TRY(arg.load());
    Port port = TRY(event::bind_virq(self(), op.virq, op.vcpu));
    return hand_out(self(), arg, op, &evtchn_bind_virq::port, port);
}

Result<> op_bind_ipi(GuestAddress address) {
    GuestInOut<evtchn_bind_ipi> arg(address.raw());
    auto op = TRY(arg.load());
    Port port = TRY(event::bind_ipi(self(), op.vcpu));
    return hand_out(self(), arg, op, &evtchn_bind_ipi::port, port);
}

Result<> op_bind_pirq(GuestAddress address) {
    GuestInOut<evtchn_bind_pirq> arg(address.raw());
    auto op = TRY(arg.load());
    if (op.pirq >= event::kMaxBoundPirqs) return Errno::kEINVAL;
    TRY(policy::check(policy::Op::kPhysdev, self()));
    bool will_share = op.flags & BIND_PIRQ__WILL_SHARE;
    Port port = TRY(event::bind_pirq(self(), Pirq{op.pirq}, will_share));
    return hand_out(self(), arg, op, &evtchn_bind_pirq::port, port);
}

Result<> op_close(GuestAddress address) {
    auto op = TRY(GuestIn<evtchn_close>(address.raw()).load());
    return event::close_port(self(), Port{op.port}, true);
}

Result<> op_status(GuestAddress address) {
    GuestInOut<evtchn_status> arg(address.raw());
    auto op = TRY(arg.load());
    DomainRef domain = TRY(Domain::find_or_self(DomId{op.dom}));
    TRY(policy::check(policy::Op::kEventForOther, self(), domain.get()));
    TRY(event::status(*domain, Port{op.port}, op));
    return arg.store(op);
}

Result<> op_bind_vcpu(GuestAddress address) {
    auto op = TRY(GuestIn<evtchn_bind_vcpu>(address.raw()).load());
    return event::bind_vcpu(self(), Port{op.port}, op.vcpu);
}

Result<> op_unmask(GuestAddress address) {
    auto op = TRY(GuestIn<evtchn_unmask>(address.raw()).load());
    Channel* channel = self().events->find(Port{op.port});
    if (!channel) return Errno::kEINVAL;
    event::unmask(*channel);
    if (channel->state.load() == ChannelState::kPirq)
        arch::pirq_unmasked(self(), Pirq{channel->pirq});
    return {};
}

Result<> op_init_control(GuestAddress address) {
    GuestInOut<evtchn_init_control> arg(address.raw());
    auto op = TRY(arg.load());
    TRY(event::init_control(self(), op.vcpu, Gfn{op.control_gfn}, op.offset));
    op.link_bits = EVTCHN_FIFO_LINK_BITS;
    return arg.store(op);
}

Result<> op_expand_array(GuestAddress address) {
    auto op = TRY(GuestIn<evtchn_expand_array>(address.raw()).load());
    return event::expand_array(self(), Gfn{op.array_gfn});
}

Result<> op_set_priority(GuestAddress address) {
    auto op = TRY(GuestIn<evtchn_set_priority>(address.raw()).load());
    return event::set_priority(self(), Port{op.port}, op.priority);
}

/// Closes all ports of a domain. Continued as kResetContinued, which goes on where the domain's
/// cursor stands; issued by a guest out of order it merely closes fewer ports.
Outcome op_reset(GuestAddress address, bool continued) {
    auto op = GuestIn<evtchn_reset>(address.raw()).load();
    if (!op) return Fail{op.error()};
    auto found = Domain::find_or_self(DomId{op->dom});
    if (!found) return Fail{found.error()};
    Domain& domain = **found;
    if (auto allowed = policy::check(policy::Op::kEventForOther, self(), &domain); !allowed)
        return Fail{allowed.error()};
    // Another's ports vanish under it, so it must not be running.
    if (&domain != &self() && !domain.controller_pauses.load()) return Errno::kEINVAL;
    if (!continued) domain.events->close_cursor.store(0);
    if (event::close_all_ports(domain, true))
        return continue_with({kResetContinued, address.raw()});
    event::leave_fifo(domain);
    return Outcome{};
}

/// All but EVTCHNOP_send.
[[gnu::noinline]] Outcome other_operation(uint64_t command, GuestAddress address) {
    switch (command) {
        case EVTCHNOP_alloc_unbound:
            return op_alloc_unbound(address);
        case EVTCHNOP_bind_interdomain:
            return op_bind_interdomain(address);
        case EVTCHNOP_bind_virq:
            return op_bind_virq(address);
        case EVTCHNOP_bind_ipi:
            return op_bind_ipi(address);
        case EVTCHNOP_bind_pirq:
            return op_bind_pirq(address);
        case EVTCHNOP_close:
            return op_close(address);
        case EVTCHNOP_status:
            return op_status(address);
        case EVTCHNOP_bind_vcpu:
            return op_bind_vcpu(address);
        case EVTCHNOP_unmask:
            return op_unmask(address);
        case EVTCHNOP_reset:
        case kResetContinued:
            return op_reset(address, command == kResetContinued);
        case EVTCHNOP_init_control:
            return op_init_control(address);
        case EVTCHNOP_expand_array:
            return op_expand_array(address);
        case EVTCHNOP_set_priority:
            return op_set_priority(address);
        default:
            return Errno::kENOSYS;
    }
}

}  // namespace

Outcome do_event_channel_op(uint64_t command, uint64_t argument, uint64_t, uint64_t, uint64_t) {
    // Most calls by far, and the only one whose speed counts.
    if (command == EVTCHNOP_send) [[likely]]
        return op_send(GuestAddress(argument));
    return other_operation(command, GuestAddress(argument));
}

}  // namespace hv

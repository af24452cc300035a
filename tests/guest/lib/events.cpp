#include "events.hpp"

#include "test.hpp"
#include "traps.hpp"

namespace guest {

volatile unsigned upcalls;

Port alloc_unbound(unsigned remote) {
    evtchn_alloc_unbound_t op = {.dom = DOMID_SELF, .remote_dom = static_cast<domid_t>(remote)};
    CHECK_EQ(event_channel_op(EVTCHNOP_alloc_unbound, &op), 0);
    return op.port;
}

Port bind_interdomain(Port remote_port, unsigned remote) {
    evtchn_bind_interdomain_t op = {.remote_dom = static_cast<domid_t>(remote),
                                    .remote_port = remote_port};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_interdomain, &op), 0);
    return op.local_port;
}

Port bind_virq(unsigned virq, unsigned vcpu) {
    evtchn_bind_virq_t op = {.virq = virq, .vcpu = vcpu};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_virq, &op), 0);
    return op.port;
}

Port bind_ipi(unsigned vcpu) {
    evtchn_bind_ipi_t op = {.vcpu = vcpu};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_ipi, &op), 0);
    return op.port;
}

long send_event(Port port) {
    evtchn_send_t op = {.port = port};
    return event_channel_op(EVTCHNOP_send, &op);
}

long close_port(Port port) {
    evtchn_close_t op = {.port = port};
    return event_channel_op(EVTCHNOP_close, &op);
}

long unmask_port(Port port) {
    evtchn_unmask_t op = {.port = port};
    return event_channel_op(EVTCHNOP_unmask, &op);
}

evtchn_status_t port_status(Port port) {
    evtchn_status_t op = {.dom = DOMID_SELF, .port = port};
    CHECK_EQ(event_channel_op(EVTCHNOP_status, &op), 0);
    return op;
}

bool pending(Port port) {
    compiler_barrier();
    return shared_info().evtchn_pending[port / 64] >> (port % 64) & 1;
}

void set_masked(Port port, bool masked) {
    auto& word = shared_info().evtchn_mask[port / 64];
    const uint64_t bit = 1ul << (port % 64);
    if (masked)
        __atomic_or_fetch(&word, bit, __ATOMIC_SEQ_CST);
    else
        __atomic_and_fetch(&word, ~bit, __ATOMIC_SEQ_CST);
}

void clear_pending(Port port) {
    __atomic_and_fetch(&shared_info().evtchn_pending[port / 64], ~(1ul << (port % 64)),
                       __ATOMIC_SEQ_CST);
    vcpu_info().evtchn_upcall_pending = 0;
    __atomic_and_fetch(&vcpu_info().evtchn_pending_sel, ~(1ul << (port / 64)), __ATOMIC_SEQ_CST);
}

void clear_all_pending() {
    vcpu_info().evtchn_upcall_pending = 0;
    __atomic_store_n(&vcpu_info().evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
    for (auto& word : shared_info().evtchn_pending) __atomic_store_n(&word, 0, __ATOMIC_SEQ_CST);
}

bool count_upcall(TrapFrame&) {
    clear_all_pending();
    upcalls = upcalls + 1;
    return true;
}

void enable_upcalls() {
    vcpu_info().evtchn_upcall_mask = 0;
    compiler_barrier();
    if (vcpu_info().evtchn_upcall_pending) xen_version(XENVER_version);
}

void disable_upcalls() {
    vcpu_info().evtchn_upcall_mask = 1;
    compiler_barrier();
}

}  // namespace guest

// Event channels, two-level ABI, a domain with itself.
#include "events.hpp"

#include <initializer_list>

#include "memory.hpp"
#include "platform.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

TEST(evtchn_interdomain_self, "EVTCHNOP alloc_unbound, bind_interdomain, send both ways", "") {
    const Port a = alloc_unbound();
    const Port b = bind_interdomain(a);
    CHECK(a && b && a != b);
    clear_all_pending();
    CHECK_EQ(send_event(a), 0);
    CHECK(pending(b) && !pending(a));
    CHECK_EQ(send_event(b), 0);
    CHECK(pending(a));
    clear_all_pending();
    CHECK_EQ(close_port(a), 0);
    CHECK_EQ(close_port(b), 0);
}

TEST(evtchn_pending_chain, "a send sets pending, the selector's bit and the upcall flag", "") {
    const Port port = bind_ipi();
    clear_all_pending();
    CHECK_EQ(send_event(port), 0);
    CHECK(pending(port));
    CHECK_EQ(vcpu_info().evtchn_pending_sel, 1ul << (port / 64));
    CHECK_EQ(vcpu_info().evtchn_upcall_pending, 1);
    clear_pending(port);
    // A masked port becomes pending and goes no further.
    set_masked(port, true);
    CHECK_EQ(send_event(port), 0);
    CHECK(pending(port));
    CHECK_EQ(vcpu_info().evtchn_pending_sel, 0);
    CHECK_EQ(vcpu_info().evtchn_upcall_pending, 0);
    set_masked(port, false);
    clear_pending(port);
    CHECK_EQ(close_port(port), 0);
}

TEST(evtchn_upcall, "event callback: once at the next chance, masked inside, frame as it was", "") {
    static bool masked_inside, frame_unmasked;
    const Port port = bind_ipi();
    clear_all_pending();
    upcalls = 0;
    set_handler(kEvent, [](TrapFrame& frame) {
        masked_inside = this_vcpu_masked();
        frame_unmasked = !frame.upcalls_were_masked();
        return count_upcall(frame);
    });
    enable_upcalls();
    CHECK_EQ(upcalls, 0);
    CHECK_EQ(send_event(port), 0);
    CHECK_EQ(upcalls, 1);
    CHECK(masked_inside && frame_unmasked);
    CHECK(!this_vcpu_masked());
    disable_upcalls();
    CHECK_EQ(send_event(port), 0);
    xen_version(XENVER_version);
    CHECK_EQ(upcalls, 1);
    enable_upcalls();
    CHECK_EQ(upcalls, 2);
    disable_upcalls();
    CHECK_EQ(close_port(port), 0);
}

TEST(evtchn_unmask, "EVTCHNOP_unmask: what came while masked is delivered now", "") {
    const Port port = bind_ipi();
    clear_all_pending();
    upcalls = 0;
    set_handler(kEvent, count_upcall);
    set_masked(port, true);
    CHECK_EQ(send_event(port), 0);
    enable_upcalls();
    CHECK_EQ(upcalls, 0);
    CHECK_EQ(unmask_port(port), 0);
    CHECK_EQ(upcalls, 1);
    CHECK_EQ(shared_info().evtchn_mask[port / 64] >> (port % 64) & 1, 0);
    CHECK_EQ(unmask_port(port), 0);
    CHECK_EQ(upcalls, 1);
    disable_upcalls();
    CHECK_EQ(close_port(port), 0);
    CHECK_EQ(unmask_port(100000), -kEINVAL);
}

TEST(evtchn_status_kinds, "EVTCHNOP_status: closed, unbound, interdomain, virq, ipi", "") {
    const Port a = alloc_unbound(77);
    CHECK_EQ(port_status(a).status, EVTCHNSTAT_unbound);
    CHECK_EQ(port_status(a).u.unbound.dom, 77);
    const Port b = alloc_unbound();
    const Port c = bind_interdomain(b);
    CHECK_EQ(port_status(c).status, EVTCHNSTAT_interdomain);
    CHECK_EQ(port_status(c).u.interdomain.dom, 0);
    CHECK_EQ(port_status(c).u.interdomain.port, b);
    const Port d = bind_virq(VIRQ_DEBUG);
    CHECK_EQ(port_status(d).status, EVTCHNSTAT_virq);
    CHECK_EQ(port_status(d).u.virq, VIRQ_DEBUG);
    const Port e = bind_ipi();
    CHECK_EQ(port_status(e).status, EVTCHNSTAT_ipi);
    CHECK_EQ(port_status(e).vcpu, 0);
    for (const Port port : {a, b, c, d, e}) CHECK_EQ(close_port(port), 0);
    CHECK_EQ(port_status(e).status, EVTCHNSTAT_closed);
    evtchn_status_t op = {.dom = 1234, .port = 1};
    CHECK_EQ(event_channel_op(EVTCHNOP_status, &op), -kESRCH);
    op = {.dom = DOMID_SELF, .port = 1u << 20};
    CHECK_EQ(event_channel_op(EVTCHNOP_status, &op), -kEINVAL);
}

TEST(evtchn_close, "EVTCHNOP_close: the other end falls back to unbound; pending is cleared", "") {
    const Port a = alloc_unbound();
    const Port b = bind_interdomain(a);
    clear_all_pending();
    CHECK_EQ(send_event(a), 0);
    CHECK_EQ(close_port(b), 0);
    CHECK(!pending(b));
    CHECK_EQ(port_status(a).status, EVTCHNSTAT_unbound);
    CHECK_EQ(close_port(b), -kEINVAL);
    CHECK_EQ(close_port(a), 0);
    CHECK_EQ(close_port(1u << 20), -kEINVAL);
    clear_all_pending();
}

TEST(evtchn_ports_reused, "a closed port is the next one given out: nothing leaks in 3,000 rounds",
     "") {
    const Port first = bind_ipi();
    CHECK_EQ(close_port(first), 0);
    for (unsigned i = 0; i < 3000; ++i) {
        const Port port = bind_ipi();
        CHECK_EQ(port, first);
        CHECK_EQ(close_port(port), 0);
    }
}

TEST(evtchn_send_refuses, "EVTCHNOP_send: closed, unbound, beyond the table, a VIRQ's", "") {
    const Port unbound = alloc_unbound(77);
    CHECK_EQ(send_event(unbound), 0);  // nobody there yet: accepted and lost
    CHECK_EQ(close_port(unbound), 0);
    CHECK_EQ(send_event(unbound), -kEINVAL);
    CHECK_EQ(send_event(0), -kEINVAL);
    CHECK_EQ(send_event(1u << 20), -kEINVAL);
    const Port virq = bind_virq(VIRQ_DEBUG);
    CHECK_EQ(send_event(virq), -kEINVAL);
    CHECK_EQ(close_port(virq), 0);
}

TEST(evtchn_bind_refuses, "bind_interdomain to a port that waits for another, or is none", "") {
    const Port other = alloc_unbound(77);
    evtchn_bind_interdomain_t op = {.remote_dom = DOMID_SELF, .remote_port = other};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_interdomain, &op), -kEINVAL);
    op.remote_port = 1u << 20;
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_interdomain, &op), -kEINVAL);
    op.remote_dom = 1234;
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_interdomain, &op), -kESRCH);
    CHECK_EQ(close_port(other), 0);
    evtchn_alloc_unbound_t alloc = {.dom = 1234, .remote_dom = 0};
    CHECK_EQ(event_channel_op(EVTCHNOP_alloc_unbound, &alloc), -kESRCH);
    CHECK_EQ(event_channel_op(77, &alloc), -kENOSYS);
}

TEST(evtchn_bind_virq_refuses,
     "bind_virq: bound twice, no such VIRQ, no such vCPU, a global one elsewhere", "") {
    const Port port = bind_virq(VIRQ_DEBUG);
    evtchn_bind_virq_t op = {.virq = VIRQ_DEBUG, .vcpu = 0};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_virq, &op), -kEEXIST);
    CHECK_EQ(close_port(port), 0);
    op.virq = NR_VIRQS;
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_virq, &op), -kEINVAL);
    op = {.virq = VIRQ_DEBUG, .vcpu = 99};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_virq, &op), -kENOENT);
    evtchn_bind_ipi_t ipi = {.vcpu = 99};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_ipi, &ipi), -kENOENT);
}

TEST(evtchn_bind_pirq, "bind_pirq after map_pirq: status, bound twice, freed by close", "") {
    physdev_map_pirq_t map = {
        .domid = DOMID_SELF, .type = MAP_PIRQ_TYPE_GSI, .index = 12, .pirq = 12};
    CHECK_EQ(physdev_op(PHYSDEVOP_map_pirq, &map), 0);
    evtchn_bind_pirq_t op = {.pirq = 12};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_pirq, &op), 0);
    CHECK_EQ(port_status(op.port).status, EVTCHNSTAT_pirq);
    CHECK_EQ(port_status(op.port).u.pirq, 12);
    evtchn_bind_pirq_t twice = {.pirq = 12};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_pirq, &twice), -kEEXIST);
    CHECK_EQ(close_port(op.port), 0);
    op.pirq = 100000;
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_pirq, &op), -kEINVAL);
}

TEST(evtchn_bind_vcpu, "EVTCHNOP_bind_vcpu: an interdomain port moves, an ipi's does not",
     "vcpus=2") {
    const Port a = alloc_unbound();
    const Port b = bind_interdomain(a);
    evtchn_bind_vcpu_t op = {.port = b, .vcpu = 1};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_vcpu, &op), 0);
    CHECK_EQ(port_status(b).vcpu, 1);
    shared_info().vcpu_info[1].evtchn_pending_sel = 0;
    clear_all_pending();
    CHECK_EQ(send_event(a), 0);
    compiler_barrier();
    CHECK(pending(b));
    CHECK_EQ(vcpu_info().evtchn_upcall_pending, 0);
    CHECK_EQ(shared_info().vcpu_info[1].evtchn_pending_sel, 1ul << (b / 64));
    shared_info().vcpu_info[1].evtchn_upcall_pending = 0;
    shared_info().vcpu_info[1].evtchn_pending_sel = 0;
    op.vcpu = 9;
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_vcpu, &op), -kENOENT);
    op = {.port = bind_ipi(), .vcpu = 1};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_vcpu, &op), -kEINVAL);
    clear_all_pending();
    for (const Port port : {a, b, op.port}) CHECK_EQ(close_port(port), 0);
}

TEST(evtchn_ipi_to_second_vcpu, "bind_ipi and send to another vCPU: its upcall runs there",
     "vcpus=2") {
    static volatile unsigned stage;
    static Port port;
    stage = 0;
    port = bind_ipi(1);
    start_second_vcpu([] {
        shared_info().vcpu_info[1].evtchn_upcall_pending = 0;
        stage = 1;
        while (
            !__atomic_load_n(&shared_info().vcpu_info[1].evtchn_upcall_pending, __ATOMIC_SEQ_CST))
            sched_op(SCHEDOP_yield);
        stage = 2;
    });
    CHECK(wait_for([] { return stage == 1; }));
    CHECK_EQ(send_event(port), 0);
    CHECK(wait_for([] { return stage == 2; }));
    CHECK(pending(port));
    CHECK_EQ(vcpu_info().evtchn_pending_sel >> (port / 64) & 1, 0);
    shared_info().vcpu_info[1].evtchn_upcall_pending = 0;
    shared_info().vcpu_info[1].evtchn_pending_sel = 0;
    clear_all_pending();
    CHECK_EQ(close_port(port), 0);
}

TEST(evtchn_reset, "EVTCHNOP_reset: every port of the domain is closed", "own-boot") {
    const Port a = bind_ipi();
    const Port b = bind_virq(VIRQ_DEBUG);
    evtchn_reset_t op = {.dom = DOMID_SELF};
    CHECK_EQ(event_channel_op(EVTCHNOP_reset, &op), 0);
    CHECK_EQ(port_status(a).status, EVTCHNSTAT_closed);
    CHECK_EQ(port_status(b).status, EVTCHNSTAT_closed);
    CHECK_EQ(bind_ipi(), a);
    op.dom = 1234;
    CHECK_EQ(event_channel_op(EVTCHNOP_reset, &op), -kESRCH);
}

TEST(evtchn_fifo, "EVTCHNOP_init_control, expand_array: FIFO ports become pending and linked",
     "own-boot") {
    auto* control = alloc_page_as<evtchn_fifo_control_block_t>();
    auto* words = alloc_page_as<volatile event_word_t>();
    evtchn_init_control_t init = {.control_gfn = mfn_of(control)};
    CHECK_EQ(event_channel_op(EVTCHNOP_init_control, &init), 0);
    CHECK_EQ(init.link_bits, EVTCHN_FIFO_LINK_BITS);
    for (unsigned i = 0; i < 1024; ++i) words[i] = 1u << EVTCHN_FIFO_MASKED;
    evtchn_expand_array_t expand = {.array_gfn = mfn_of(words)};
    CHECK_EQ(event_channel_op(EVTCHNOP_expand_array, &expand), 0);
    const Port port = bind_ipi();
    CHECK_EQ(send_event(port), 0);
    CHECK(words[port] & 1u << EVTCHN_FIFO_PENDING);
    CHECK(!(words[port] & 1u << EVTCHN_FIFO_LINKED));
    CHECK_EQ(unmask_port(port), 0);
    CHECK(words[port] & 1u << EVTCHN_FIFO_LINKED);
    CHECK_EQ(control->ready, 1u << EVTCHN_FIFO_PRIORITY_DEFAULT);
    CHECK_EQ(control->head[EVTCHN_FIFO_PRIORITY_DEFAULT], port);
    evtchn_set_priority_t priority = {.port = port, .priority = 99};
    CHECK_EQ(event_channel_op(EVTCHNOP_set_priority, &priority), -kEINVAL);
    priority.priority = 3;
    CHECK_EQ(event_channel_op(EVTCHNOP_set_priority, &priority), 0);
}

}  // namespace guest

// A second domain beside Domain 0: its life, and what it shares.
#include "child.hpp"

#include <initializer_list>

#include "events.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

namespace {
unsigned shutdown_reason(uint32_t flags) {
    return flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask;
}
bool wait_for_shutdown(const Child& child) {
    return wait_for([&] { return (child.info().flags & XEN_DOMINF_shutdown) != 0; });
}
}  // namespace

TEST(child_lives, "a PV domain built by domctl: setvcpucontext, pin, unpause; runs; destroyed",
     "") {
    const uint64_t before = settled_free_pages();
    Child child;
    CHECK_EQ(child.call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
    const auto info = child.info();
    CHECK_EQ(info.tot_pages, Child::kPages);
    CHECK_EQ(info.nr_online_vcpus, 1);
    CHECK(!(info.flags & (XEN_DOMINF_paused | XEN_DOMINF_shutdown | XEN_DOMINF_dying)));
    CHECK(info.cpu_time > 0);
    child.destroy();
    expect_free_pages(before);
}

TEST(child_shuts_down, "SCHEDOP_shutdown of a domain: reason in getdomaininfo, VIRQ_DOM_EXC", "") {
    const Port port = bind_virq(VIRQ_DOM_EXC);
    for (const unsigned reason : {SHUTDOWN_poweroff, SHUTDOWN_reboot, SHUTDOWN_suspend}) {
        Child child;
        clear_all_pending();
        *child.scratch_as<uint32_t>() = reason;
        child.order(__HYPERVISOR_sched_op, SCHEDOP_shutdown, Child::scratch(0));
        CHECK(wait_for_shutdown(child));
        CHECK_EQ(shutdown_reason(child.info().flags), reason);
        CHECK(pending(port));
        child.destroy();
    }
    CHECK_EQ(close_port(port), 0);
    clear_all_pending();
}

TEST(child_resumes, "XEN_DOMCTL_resumedomain: a suspended domain runs on", "") {
    Child child;
    *child.scratch_as<uint32_t>() = SHUTDOWN_suspend;
    child.order(__HYPERVISOR_sched_op, SCHEDOP_shutdown, Child::scratch(0));
    CHECK(wait_for_shutdown(child));
    xen_domctl_t op = domctl_of(XEN_DOMCTL_resumedomain, child.id());
    CHECK_EQ(domctl(&op), 0);
    CHECK(!(child.info().flags & XEN_DOMINF_shutdown));
    CHECK(wait_for([&] { return child.mailbox().done == child.mailbox().request; }));
    CHECK_EQ(child.call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
    child.destroy();
}

TEST(child_crashes, "a domain without trap table: #UD, #PF, #GP end it alone, reason crash", "") {
    const uint64_t before = settled_free_pages();
    struct {
        unsigned call;
        Arg address;
    } const deaths[] = {{kInvalid, 0},
                        {kRead, 0x1000},
                        {kWriteWord, Child::va(0)},
                        {kRead, 1ul << 62},
                        {kRead, HYPERVISOR_VIRT_END - 4096}};
    for (const auto& death : deaths) {
        Child child;
        child.order(death.call, death.address, 1);
        if (!wait_for_shutdown(child))
            fail("call 0x%x of address %lx did not end it", death.call, death.address);
        CHECK_EQ(shutdown_reason(child.info().flags), SHUTDOWN_crash);
        child.destroy();
    }
    expect_free_pages(before);
}

TEST(child_ports, "in of a domain without ports: all ones, whatever the machine has there", "") {
    Child child;
    for (const Arg port : {0x71ul, 0x60ul, 0x3f8ul, 0xcfcul})
        CHECK_EQ(child.call(kInPort, port) & 0xff, 0xff);
    child.destroy();
}

TEST(child_remote_shutdown, "SCHEDOP_remote_shutdown sets the reason, the domain runs on", "") {
    Child child;
    sched_remote_shutdown_t op = {.domain_id = child.id(), .reason = SHUTDOWN_reboot};
    CHECK_EQ(sched_op(SCHEDOP_remote_shutdown, &op), 0);
    CHECK(wait_for_shutdown(child));
    CHECK_EQ(shutdown_reason(child.info().flags), SHUTDOWN_reboot);
    child.destroy();
}

TEST(child_pauses, "pausedomain and unpausedomain: the domain stands still, and counts pauses",
     "") {
    Child child;
    CHECK(wait_for([&] { return child.mailbox().turns > 5; }));
    xen_domctl_t pause = domctl_of(XEN_DOMCTL_pausedomain, child.id());
    xen_domctl_t unpause = domctl_of(XEN_DOMCTL_unpausedomain, child.id());
    CHECK_EQ(domctl(&pause), 0);
    CHECK(child.info().flags & XEN_DOMINF_paused);
    const uint64_t turns = child.mailbox().turns;
    CHECK(!wait_for([&] { return child.mailbox().turns != turns; }, 50'000'000));
    CHECK_EQ(domctl(&unpause), 0);
    CHECK(wait_for([&] { return child.mailbox().turns > turns + 5; }));
    child.destroy();
}

TEST(child_preempted, "a domain that never yields does not keep Domain 0 from the CPU", "") {
    Child child;
    const uint64_t turns = child.mailbox().turns;
    child.order(kSpin);
    const uint64_t start = system_time();
    for (unsigned i = 0; i < 20; ++i) sched_op(SCHEDOP_yield);
    CHECK(system_time() - start < 5'000'000'000);
    CHECK(child.mailbox().turns > turns);
    child.destroy();
}

TEST(child_registers, "XEN_DOMCTL_getvcpucontext of a paused domain", "") {
    Child child;
    xen_domctl_t pause = domctl_of(XEN_DOMCTL_pausedomain, child.id());
    CHECK_EQ(domctl(&pause), 0);
    static vcpu_guest_context_t context;
    xen_domctl_t op = domctl_of(XEN_DOMCTL_getvcpucontext, child.id());
    set_xen_guest_handle(op.u.vcpucontext.ctxt, &context);
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(context.user_regs.rbx, Child::va(Child::kMailboxPage));
    CHECK_EQ(context.user_regs.rip & ~(kPageSize - 1), Child::va(4));
    CHECK_EQ(xen_cr3_to_pfn(context.ctrlreg[3]), child.mfn(0));
    constexpr uint64_t kProtectedAndPaged = 0x80000001;
    CHECK_EQ(context.ctrlreg[0] & kProtectedAndPaged, kProtectedAndPaged);
    CHECK(context.flags & VGCF_IN_KERNEL);
    child.destroy();
}

TEST(child_events, "event channel between two domains: alloc_unbound, bind, send, pending there",
     "") {
    Child child;
    evtchn_alloc_unbound_t alloc = {.dom = DOMID_SELF, .remote_dom = 0};
    CHECK_EQ(child.call_with(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, alloc), 0);
    const Port mine = bind_interdomain(alloc.port, child.id());
    CHECK_EQ(port_status(mine).u.interdomain.dom, child.id());
    CHECK_EQ(port_status(mine).u.interdomain.port, alloc.port);
    auto& word = child.shared().evtchn_pending[0];
    __atomic_store_n(&word, 0, __ATOMIC_SEQ_CST);
    CHECK_EQ(send_event(mine), 0);
    CHECK_EQ(__atomic_load_n(&word, __ATOMIC_SEQ_CST), 1ul << alloc.port);
    CHECK_EQ(child.shared().vcpu_info[0].evtchn_upcall_pending, 1);
    clear_all_pending();
    evtchn_send_t send = {.port = alloc.port};
    CHECK_EQ(child.call_with(__HYPERVISOR_event_channel_op, EVTCHNOP_send, send), 0);
    CHECK(pending(mine));
    // The other end falls back to unbound when the domain ends.
    const domid_t id = child.id();
    child.destroy();
    CHECK_EQ(port_status(mine).status, EVTCHNSTAT_unbound);
    CHECK_EQ(port_status(mine).u.unbound.dom, id);
    CHECK_EQ(close_port(mine), 0);
    clear_all_pending();
}

TEST(child_wakes_from_block, "SCHEDOP_block of a domain, woken by an event from another", "") {
    Child child;
    evtchn_alloc_unbound_t alloc = {.dom = DOMID_SELF, .remote_dom = 0};
    CHECK_EQ(child.call_with(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, alloc), 0);
    const Port mine = bind_interdomain(alloc.port, child.id());
    // Polling needs no upcall, for which the child has no handler.
    auto* poll = child.scratch_as<sched_poll_t>(8);
    *child.scratch_as<uint32_t>(0) = alloc.port;
    *poll = {.nr_ports = 1};
    set_xen_guest_handle(poll->ports, reinterpret_cast<evtchn_port_t*>(Child::scratch(0)));
    __atomic_store_n(&child.shared().evtchn_pending[0], 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&child.shared().evtchn_mask[0], ~0ul, __ATOMIC_SEQ_CST);
    child.order(__HYPERVISOR_sched_op, SCHEDOP_poll, Child::scratch(8));
    CHECK(wait_for([&] { return (child.info().flags & XEN_DOMINF_blocked) != 0; }));
    const uint64_t turns = child.mailbox().turns;
    CHECK(!wait_for([&] { return child.mailbox().turns != turns; }, 30'000'000));
    CHECK_EQ(send_event(mine), 0);
    CHECK(wait_for([&] { return child.mailbox().done == child.mailbox().request; }));
    CHECK_EQ(child.mailbox().result, 0);
    child.destroy();
    CHECK_EQ(close_port(mine), 0);
    clear_all_pending();
}

TEST(child_memory_limit, "a domain's populate_physmap stops at max_mem; decrease gives it back",
     "") {
    Child child;
    auto* list = child.scratch_as<xen_pfn_t>(32);
    auto* r = child.scratch_as<xen_memory_reservation_t>(0);
    for (unsigned i = 0; i < 4; ++i) list[i] = Child::kPages + i;
    *r = {.nr_extents = 4, .domid = DOMID_SELF};
    set_xen_guest_handle(r->extent_start, reinterpret_cast<xen_pfn_t*>(Child::scratch(32)));
    CHECK_EQ(child.call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, Child::scratch(0)), 0);
    set_max_memory(child.id(), Child::kPages + 3);
    CHECK_EQ(child.call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, Child::scratch(0)), 3);
    CHECK_EQ(child.info().tot_pages, Child::kPages + 3);
    CHECK_EQ(m2p(list[2]), Child::kPages + 2);
    r->nr_extents = 3;
    CHECK_EQ(child.call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, Child::scratch(0)), 3);
    CHECK_EQ(child.info().tot_pages, Child::kPages);
    child.destroy();
}

TEST(child_page_tables, "a domain's own page-table calls: update, refusal of Domain 0's frames",
     "") {
    Child child;
    const Arg target = Child::va(50);
    CHECK_EQ(child.call(__HYPERVISOR_update_va_mapping, target, pte(child.mfn(9), kDataFlags),
                        UVMF_INVLPG),
             0);
    child.call(kWriteWord, target, 0x99);
    CHECK_EQ(child.call(kRead, Child::va(9)), 0x99);
    // Frames of Domain 0, of the hypervisor, of no memory: none of them.
    for (const uint64_t mfn : {mfn_of(alloc_page()), 0xfee00ul, 0xfffffffful})
        CHECK(child.call(__HYPERVISOR_update_va_mapping, target, pte(mfn, kDataFlags),
                         UVMF_INVLPG) < 0);
    CHECK(child.call(__HYPERVISOR_update_va_mapping, target, pte(child.mfn(0), kDataFlags),
                     UVMF_INVLPG) < 0);
    auto* update = child.scratch_as<mmu_update_t>();
    *update = {machine_address(alloc_page()), 0};
    CHECK(child.call(__HYPERVISOR_mmu_update, Child::scratch(0), 1, 0, DOMID_SELF) < 0);
    *update = {mfn_of(boot_l4()) << 12 | MMU_MACHPHYS_UPDATE, 0};
    CHECK(child.call(__HYPERVISOR_mmu_update, Child::scratch(0), 1, 0, DOMID_SELF) < 0);
    CHECK_EQ(child.call(kRead, target), 0x99);
    child.destroy();
}

TEST(child_destroyed_running, "a domain destroyed while it runs, tables pinned and nested", "") {
    const uint64_t before = settled_free_pages();
    Child child;
    child.order(kSpin);
    for (unsigned i = 0; i < 3; ++i) sched_op(SCHEDOP_yield);
    child.destroy();
    expect_free_pages(before);
}

TEST(child_list, "getdomaininfolist: both domains in order, from a first id on", "") {
    Child child;
    static xen_domctl_getdomaininfo_t list[4];
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_getdomaininfolist);
    op.u.getdomaininfolist.max_domains = 4;
    set_xen_guest_handle(op.u.getdomaininfolist.buffer, list);
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(op.u.getdomaininfolist.num_domains, 2);
    CHECK_EQ(list[0].domain, 0);
    CHECK_EQ(list[1].domain, child.id());
    op.u.getdomaininfolist.first_domain = 1;
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(op.u.getdomaininfolist.num_domains, 1);
    CHECK_EQ(list[0].domain, child.id());
    child.destroy();
}

TEST(child_affinity, "XEN_DOMCTL_setvcpuaffinity: read back; a map without a CPU refused", "") {
    Child child;
    uint8_t map[8] = {1};
    xen_domctl_t op = domctl_of(XEN_DOMCTL_setvcpuaffinity, child.id());
    op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD;
    op.u.vcpuaffinity.cpumap_hard.nr_bits = 64;
    set_xen_guest_handle(op.u.vcpuaffinity.cpumap_hard.bitmap, map);
    CHECK_EQ(domctl(&op), 0);
    op.cmd = XEN_DOMCTL_getvcpuaffinity;
    map[0] = 0;
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(map[0], 1);
    op.cmd = XEN_DOMCTL_setvcpuaffinity;
    map[0] = 0;
    CHECK_EQ(domctl(&op), -kEINVAL);
    child.destroy();
}

TEST(child_event_channel_of_tools, "EVTCHNOP_alloc_unbound for another domain, as libxl does it",
     "") {
    Child child;
    evtchn_alloc_unbound_t alloc = {.dom = child.id(), .remote_dom = 0};
    CHECK_EQ(event_channel_op(EVTCHNOP_alloc_unbound, &alloc), 0);
    evtchn_status_t status = {.dom = child.id(), .port = alloc.port};
    CHECK_EQ(event_channel_op(EVTCHNOP_status, &status), 0);
    CHECK_EQ(status.status, EVTCHNSTAT_unbound);
    CHECK_EQ(status.u.unbound.dom, 0);
    const Port mine = bind_interdomain(alloc.port, child.id());
    CHECK_EQ(close_port(mine), 0);
    child.destroy();
}

}  // namespace guest

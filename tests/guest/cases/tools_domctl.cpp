// What debuggers, savers and rarer tools ask by domctl; and how a PV domain's lack of things that
// only other guests have is told.
#include <initializer_list>

#include "child.hpp"
#include "events.hpp"
#include "print.hpp"
#include "test.hpp"

namespace guest {
namespace {

long domctl_on(domid_t domain, uint32_t cmd) {
    xen_domctl_t op = domctl_of(cmd, domain);
    return domctl(&op);
}

}  // namespace

TEST(domctl_hvm_only_refused, "domctl operations of HVM guests on a PV domain", "") {
    const domid_t domain = create_domain();
    for (const uint32_t cmd :
         {XEN_DOMCTL_gethvmcontext, XEN_DOMCTL_sethvmcontext, XEN_DOMCTL_gethvmcontext_partial,
          XEN_DOMCTL_debug_op, XEN_DOMCTL_bind_pt_irq, XEN_DOMCTL_unbind_pt_irq,
          XEN_DOMCTL_set_broken_page_p2m, XEN_DOMCTL_vmtrace_op})
        CHECK_EQ(domctl_on(domain, cmd), -kEINVAL);
    for (const uint32_t cmd :
         {XEN_DOMCTL_ioport_mapping, XEN_DOMCTL_get_paging_mempool_size,
          XEN_DOMCTL_set_paging_mempool_size, XEN_DOMCTL_assign_device,
          XEN_DOMCTL_test_assign_device, XEN_DOMCTL_deassign_device, XEN_DOMCTL_get_device_group})
        CHECK_EQ(domctl_on(domain, cmd), -kEOPNOTSUPP);
    CHECK_EQ(domctl_on(domain, XEN_DOMCTL_psr_cmt_op), -kENODEV);
    for (const uint32_t cmd : {XEN_DOMCTL_cacheflush, XEN_DOMCTL_vuart_op, XEN_DOMCTL_audit_p2m,
                               XEN_DOMCTL_mem_sharing_op, XEN_DOMCTL_real_mode_area})
        CHECK_EQ(domctl_on(domain, cmd), -kENOSYS);
    CHECK_EQ(domctl_on(1234, XEN_DOMCTL_debug_op), -kESRCH);
    destroy_domain(domain);
}

TEST(domctl_log_dirty_refused, "XEN_DOMCTL_shadow_op: no shadow page tables, so no log-dirty",
     "differs=stock has shadow page tables; as a Xen built without them answers") {
    Child child;
    for (const uint32_t mode : {XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, XEN_DOMCTL_SHADOW_OP_CLEAN,
                                XEN_DOMCTL_SHADOW_OP_PEEK, XEN_DOMCTL_SHADOW_OP_OFF,
                                XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION, 99}) {
        xen_domctl_t op = domctl_of(XEN_DOMCTL_shadow_op, child.id());
        op.u.shadow_op.op = mode;
        CHECK_EQ(domctl(&op), -kEOPNOTSUPP);
    }
    CHECK_EQ(domctl_on(1234, XEN_DOMCTL_shadow_op), -kESRCH);
    CHECK_EQ(child.call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
    child.destroy();
}

TEST(domctl_monitor_refused, "XEN_DOMCTL_monitor_op, vm_event_op: a PV domain has no events", "") {
    Child child;
    xen_domctl_t op = domctl_of(XEN_DOMCTL_monitor_op, child.id());
    op.u.monitor_op.op = XEN_DOMCTL_MONITOR_OP_GET_CAPABILITIES;
    op.u.monitor_op.event = 77;
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(op.u.monitor_op.event, 0);
    op.u.monitor_op.op = XEN_DOMCTL_MONITOR_OP_ENABLE;
    op.u.monitor_op.event = XEN_DOMCTL_MONITOR_EVENT_GUEST_REQUEST;
    CHECK_EQ(domctl(&op), -kEOPNOTSUPP);
    op.u.monitor_op.event = 32;
    CHECK_EQ(domctl(&op), -kEINVAL);
    op.domain = 0;
    CHECK_EQ(domctl(&op), -kEPERM);
    op = domctl_of(XEN_DOMCTL_vm_event_op, DOMID_INVALID);
    op.u.vm_event_op.op = XEN_VM_EVENT_GET_VERSION;
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(op.u.vm_event_op.u.version, 7);
    op.u.vm_event_op.op = XEN_VM_EVENT_ENABLE;
    op.u.vm_event_op.mode = XEN_DOMCTL_VM_EVENT_OP_SHARING;
    CHECK_EQ(domctl(&op), -kESRCH);
    op.domain = 0;
    CHECK_EQ(domctl(&op), -kEINVAL);
    op.domain = child.id();
    CHECK_EQ(domctl(&op), -kENOSYS);
    child.destroy();
}

TEST(domctl_sendtrigger, "XEN_DOMCTL_sendtrigger: an NMI; no buttons; no such vCPU", "") {
    Child child;
    xen_domctl_t op = domctl_of(XEN_DOMCTL_sendtrigger, child.id());
    op.u.sendtrigger.trigger = XEN_DOMCTL_SENDTRIGGER_NMI;
    CHECK_EQ(domctl(&op), 0);  // it has no callback: the NMI stays pending
    CHECK_EQ(child.call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
    for (const uint32_t button : {XEN_DOMCTL_SENDTRIGGER_POWER, XEN_DOMCTL_SENDTRIGGER_SLEEP}) {
        op.u.sendtrigger.trigger = button;
        CHECK_EQ(domctl(&op), -kEINVAL);
    }
    op.u.sendtrigger.trigger = XEN_DOMCTL_SENDTRIGGER_INIT;
    CHECK_EQ(domctl(&op), -kENOSYS);
    op.u.sendtrigger.vcpu = 1;
    CHECK_EQ(domctl(&op), -kESRCH);
    child.destroy();
}

TEST(domctl_virq_handler, "XEN_DOMCTL_set_virq_handler: host VIRQs only, and they arrive", "") {
    Child child;
    xen_domctl_t op = domctl_of(XEN_DOMCTL_set_virq_handler, child.id());
    for (const uint32_t virq : {uint32_t{VIRQ_TIMER}, uint32_t{VIRQ_DEBUG}, uint32_t{NR_VIRQS}}) {
        op.u.set_virq_handler.virq = virq;
        CHECK_EQ(domctl(&op), -kEINVAL);
    }
    evtchn_bind_virq bind = {.virq = VIRQ_DOM_EXC, .vcpu = 0};
    CHECK_EQ(child.call_with(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq, bind), 0);
    op.u.set_virq_handler.virq = VIRQ_DOM_EXC;
    CHECK_EQ(domctl(&op), 0);
    auto& pending = child.shared().evtchn_pending[0];
    CHECK(!(pending >> bind.port & 1));
    destroy_domain(create_domain());  // a domain's end is what VIRQ_DOM_EXC tells of
    CHECK(wait_for([&] { return __atomic_load_n(&pending, __ATOMIC_RELAXED) >> bind.port & 1; }));
    child.destroy();
}

TEST(domctl_vcpu_extended_state, "XEN_DOMCTL get/setvcpuextstate: there, back, and refusals", "") {
    Child child;
    static uint64_t buffer[2048];
    xen_domctl_t op = domctl_of(XEN_DOMCTL_getvcpuextstate, child.id());
    CHECK_EQ(domctl(&op), 0);
    const uint64_t mask = op.u.vcpuextstate.xfeature_mask, most = op.u.vcpuextstate.size;
    CHECK((mask & 3) == 3);
    CHECK(most > 16 + 576 - 1 && most <= sizeof buffer);
    set_xen_guest_handle(op.u.vcpuextstate.buffer, buffer);
    CHECK_EQ(domctl(&op), 0);
    const uint64_t size = op.u.vcpuextstate.size;
    CHECK(size <= most);
    CHECK((buffer[0] & ~buffer[1]) == 0);  // XCR0 is part of what it ever was
    op.cmd = XEN_DOMCTL_setvcpuextstate;
    op.u.vcpuextstate.size = size;
    CHECK_EQ(domctl(&op), 0);
    const uint64_t accum = buffer[1];
    buffer[1] = uint64_t{1} << 62;
    CHECK_EQ(domctl(&op), -kEINVAL);
    buffer[1] = accum;
    op.u.vcpuextstate.size = 8;
    CHECK_EQ(domctl(&op), -kEINVAL);
    op.u.vcpuextstate.size = most + 8;
    CHECK_EQ(domctl(&op), -kEINVAL);
    op.cmd = XEN_DOMCTL_getvcpuextstate;
    op.u.vcpuextstate.size = 8;
    CHECK_EQ(domctl(&op), -kEINVAL);
    op.u.vcpuextstate.vcpu = 1;
    CHECK_EQ(domctl(&op), -kESRCH);
    op.domain = 0;
    op.u.vcpuextstate.vcpu = 0;
    CHECK_EQ(domctl(&op), -kEINVAL);  // oneself
    child.destroy();
}

TEST(domctl_vcpu_msrs, "XEN_DOMCTL get/set_vcpu_msrs: how many, none in use, refusals", "") {
    Child child;
    static xen_domctl_vcpu_msr_t list[16];
    xen_domctl_t op = domctl_of(XEN_DOMCTL_get_vcpu_msrs, child.id());
    CHECK_EQ(domctl(&op), 0);
    CHECK(op.u.vcpu_msrs.msr_count > 0 && op.u.vcpu_msrs.msr_count <= 16);
    set_xen_guest_handle(op.u.vcpu_msrs.msrs, list);
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(op.u.vcpu_msrs.msr_count, 0);
    op.cmd = XEN_DOMCTL_set_vcpu_msrs;
    CHECK_EQ(domctl(&op), 0);
    list[0] = {.index = 0xc0000080, .value = 0};  // EFER is not one of them
    op.u.vcpu_msrs.msr_count = 1;
    CHECK_EQ(domctl(&op), -kEINVAL);
    CHECK_EQ(op.u.vcpu_msrs.msr_count, 0);  // the entry at fault
    op.u.vcpu_msrs.msr_count = 1000;
    CHECK_EQ(domctl(&op), -kEINVAL);
    op.u.vcpu_msrs.vcpu = 1;
    CHECK_EQ(domctl(&op), -kESRCH);
    op.domain = 0;
    op.u.vcpu_msrs.vcpu = 0;
    CHECK_EQ(domctl(&op), -kEINVAL);
    child.destroy();
}

TEST(domctl_ext_vcpu_context, "XEN_DOMCTL get/set_ext_vcpucontext: callbacks of 32-bit code", "") {
    Child child;
    xen_domctl_t op = domctl_of(XEN_DOMCTL_get_ext_vcpucontext, child.id());
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(op.u.ext_vcpucontext.size, sizeof op.u.ext_vcpucontext);
    CHECK_EQ(op.u.ext_vcpucontext.syscall32_callback_eip, 0);
    op.cmd = XEN_DOMCTL_set_ext_vcpucontext;
    op.u.ext_vcpucontext.syscall32_callback_eip = Child::va(0);
    CHECK_EQ(domctl(&op), 0);
    op.cmd = XEN_DOMCTL_get_ext_vcpucontext;
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(op.u.ext_vcpucontext.syscall32_callback_eip, Child::va(0));
    op.cmd = XEN_DOMCTL_set_ext_vcpucontext;
    op.u.ext_vcpucontext.syscall32_callback_eip = 0x8000'0000'0000'0000;
    CHECK_EQ(domctl(&op), -kEINVAL);
    op.u.ext_vcpucontext.syscall32_callback_eip = 0;
    op.u.ext_vcpucontext.size = 4;
    CHECK_EQ(domctl(&op), -kEINVAL);
    op.u.ext_vcpucontext.vcpu = 9;
    CHECK_EQ(domctl(&op), -kESRCH);
    child.destroy();
}

TEST(domctl_debugger_stops_vcpus, "XEN_DOMCTL gdbsx_pausevcpu, _unpausevcpu, _domstatus",
     "differs=Debian's Xen is built without what gdbsx needs") {
    Child child;
    xen_domctl_t status = domctl_of(XEN_DOMCTL_gdbsx_domstatus, child.id());
    CHECK_EQ(domctl(&status), 0);
    CHECK_EQ(status.u.gdbsx_domstatus.paused, 0);
    xen_domctl_t op = domctl_of(XEN_DOMCTL_gdbsx_pausevcpu, child.id());
    CHECK_EQ(domctl(&op), -kEBUSY);  // the whole domain comes first
    CHECK_EQ(domctl_on(child.id(), XEN_DOMCTL_pausedomain), 0);
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(domctl(&status), 0);
    CHECK_EQ(status.u.gdbsx_domstatus.paused, 1);
    CHECK_EQ(status.u.gdbsx_domstatus.vcpu_id, ~0u);
    op.u.gdbsx_pauseunp_vcpu.vcpu = 7;
    CHECK_EQ(domctl(&op), -kEINVAL);
    op.u.gdbsx_pauseunp_vcpu.vcpu = 0;
    op.cmd = XEN_DOMCTL_gdbsx_unpausevcpu;
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(domctl(&op), -kEINVAL);  // one pause, one unpause
    CHECK_EQ(domctl_on(child.id(), XEN_DOMCTL_unpausedomain), 0);
    CHECK_EQ(child.call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
    child.destroy();
}

TEST(domctl_debugger_memory, "XEN_DOMCTL_gdbsx_guestmemio: a guest's memory by its addresses",
     "differs=Debian's Xen is built without what gdbsx needs") {
    Child child;
    static uint8_t mine[2 * kPageSize];
    volatile uint64_t* word = child.scratch_as<uint64_t>(3);
    *word = 0x1234'5678;
    xen_domctl_t op = domctl_of(XEN_DOMCTL_gdbsx_guestmemio, child.id());
    op.u.gdbsx_guest_memio.gva = Child::scratch(3);
    op.u.gdbsx_guest_memio.uva = addr(mine);
    op.u.gdbsx_guest_memio.len = 8;
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(op.u.gdbsx_guest_memio.remain, 0);
    CHECK_EQ(*reinterpret_cast<uint64_t*>(mine), 0x1234'5678);
    *reinterpret_cast<uint64_t*>(mine) = 0x8765;
    op.u.gdbsx_guest_memio.gwr = 1;
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(*word, 0x8765);
    op.u.gdbsx_guest_memio.gwr = 0;
    op.u.gdbsx_guest_memio.gva = Child::va(0) + 100;  // across pages
    op.u.gdbsx_guest_memio.len = kPageSize;
    CHECK_EQ(domctl(&op), 0);
    op.u.gdbsx_guest_memio.gva = 0x1000;  // not mapped
    CHECK_EQ(domctl(&op), -kEFAULT);
    CHECK_EQ(op.u.gdbsx_guest_memio.remain, kPageSize);
    op.u.gdbsx_guest_memio.gva = 0xffff830000000000;  // the hypervisor's
    CHECK_EQ(domctl(&op), -kEFAULT);
    child.destroy();
}

TEST(domctl_debugger_breakpoint, "setdebugging: int3 of the guest's kernel stops the domain",
     "differs=Debian's Xen is built without what gdbsx needs") {
    Child child;
    xen_domctl_t op = domctl_of(XEN_DOMCTL_setdebugging, 0);
    op.u.setdebugging.enable = 1;
    CHECK_EQ(domctl(&op), -kEINVAL);  // oneself
    op.domain = child.id();
    CHECK_EQ(domctl(&op), 0);
    child.order(kBreak);
    xen_domctl_t status = domctl_of(XEN_DOMCTL_gdbsx_domstatus, child.id());
    CHECK(wait_for([&] { return domctl(&status) == 0 && status.u.gdbsx_domstatus.paused; }));
    CHECK_EQ(status.u.gdbsx_domstatus.vcpu_id, 0);
    CHECK_EQ(status.u.gdbsx_domstatus.vcpu_ev, 3);
    CHECK_EQ(domctl(&status), 0);
    CHECK_EQ(status.u.gdbsx_domstatus.vcpu_id, ~0u);  // told once
    CHECK_EQ(domctl_on(child.id(), XEN_DOMCTL_unpausedomain), 0);
    CHECK(wait_for([&] { return child.mailbox().done == child.mailbox().request; }));
    op.u.setdebugging.enable = 0;
    CHECK_EQ(domctl(&op), 0);
    child.destroy();
}

TEST(domctl_iomem_permission, "XEN_DOMCTL_iomem_permission: device memory for a PV guest", "") {
    Child child;
    xen_domctl_t op = domctl_of(XEN_DOMCTL_iomem_permission, child.id());
    constexpr uint64_t kVga = 0xb8;
    op.u.iomem_permission.first_mfn = kVga;
    op.u.iomem_permission.nr_mfns = 1;
    op.u.iomem_permission.allow_access = 1;
    auto maps = [&] {
        return child.call(__HYPERVISOR_update_va_mapping, Child::va(30), kVga << 12 | 0x67, 0);
    };
    CHECK(maps() < 0);
    CHECK_EQ(domctl(&op), 0);
    CHECK_EQ(maps(), 0);
    CHECK_EQ(child.call(__HYPERVISOR_update_va_mapping, Child::va(30), 0, 0), 0);
    op.u.iomem_permission.allow_access = 0;
    CHECK_EQ(domctl(&op), 0);
    CHECK(maps() < 0);
    op.u.iomem_permission.nr_mfns = 0;
    CHECK_EQ(domctl(&op), -kEINVAL);
    op.u.iomem_permission.first_mfn = ~uint64_t{0};
    op.u.iomem_permission.nr_mfns = 2;
    CHECK_EQ(domctl(&op), -kEINVAL);
    op.u.iomem_permission.first_mfn = 0xfee00;  // the local APIC: not Domain 0's to give
    op.u.iomem_permission.nr_mfns = 1;
    CHECK_EQ(domctl(&op), -kEPERM);
    op = domctl_of(XEN_DOMCTL_memory_mapping, child.id());
    op.u.memory_mapping.nr_mfns = 1;
    op.u.memory_mapping.first_mfn = uint64_t{1} << 51;
    CHECK_EQ(domctl(&op), -kEINVAL);
    op = domctl_of(XEN_DOMCTL_irq_permission, child.id());
    op.u.irq_permission.pirq = 1 << 20;
    CHECK_EQ(domctl(&op), -kEINVAL);
    child.destroy();
}

}  // namespace guest

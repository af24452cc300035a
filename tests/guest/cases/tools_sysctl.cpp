// What rarer tools ask of the host by sysctl: xenpm, xen-hptool, xen-livepatch, debug keys.
#include <initializer_list>

#include "child.hpp"
#include "events.hpp"
#include "print.hpp"
#include "test.hpp"

namespace guest {

TEST(sysctl_idle_states, "XEN_SYSCTL_get_pmstat, pm_op: idle states; no frequencies; no such CPU",
     "") {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_get_pmstat);
    op.u.get_pmstat.type = PMSTAT_get_max_cx;
    CHECK_EQ(sysctl(&op), 0);
    CHECK(op.u.get_pmstat.u.getcx.nr >= 2);
    op.u.get_pmstat.cpuid = 200;
    CHECK_EQ(sysctl(&op), -kEINVAL);
    op.u.get_pmstat.cpuid = 0;
    op.u.get_pmstat.type = PMSTAT_get_max_px;
    CHECK_EQ(sysctl(&op), -kENODEV);
    op.u.get_pmstat.type = 0x30;
    CHECK_EQ(sysctl(&op), -kENODEV);
    static uint64_t triggers[8], times[8];
    op = sysctl_of(XEN_SYSCTL_get_pmstat);
    op.u.get_pmstat.type = PMSTAT_get_cxstat;
    op.u.get_pmstat.u.getcx.nr = 8;
    set_xen_guest_handle(op.u.get_pmstat.u.getcx.triggers, triggers);
    set_xen_guest_handle(op.u.get_pmstat.u.getcx.residencies, times);
    CHECK_EQ(sysctl(&op), 0);
    CHECK(op.u.get_pmstat.u.getcx.nr >= 2 && op.u.get_pmstat.u.getcx.nr <= 8);
    CHECK(times[0] > 0);
    op = sysctl_of(XEN_SYSCTL_pm_op);
    op.u.pm_op.cmd = XEN_SYSCTL_pm_op_get_max_cstate;
    CHECK_EQ(sysctl(&op), 0);
    const uint32_t before = op.u.pm_op.u.get_max_cstate;
    CHECK(before > 0);
    op.u.pm_op.cmd = XEN_SYSCTL_pm_op_set_max_cstate;
    op.u.pm_op.u.set_max_cstate = 1;
    CHECK_EQ(sysctl(&op), 0);
    op.u.pm_op.cmd = XEN_SYSCTL_pm_op_get_max_cstate;
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(op.u.pm_op.u.get_max_cstate, 1);
    op.u.pm_op.cmd = XEN_SYSCTL_pm_op_set_max_cstate;
    op.u.pm_op.u.set_max_cstate = before;
    CHECK_EQ(sysctl(&op), 0);
    op.u.pm_op.cpuid = 2;
    CHECK_EQ(sysctl(&op), -kEINVAL);
    op.u.pm_op.cpuid = 0;
    op.u.pm_op.cmd = GET_CPUFREQ_PARA;
    CHECK_EQ(sysctl(&op), -kEINVAL);
    op.u.pm_op.cmd = 0x7f;
    CHECK_EQ(sysctl(&op), -kENOSYS);
}

TEST(sysctl_developers_refused, "XEN_SYSCTL operations of other builds and other processors", "") {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_coverage_op);
    CHECK_EQ(sysctl(&op), -kEOPNOTSUPP);
    op = sysctl_of(XEN_SYSCTL_lockprof_op);
    CHECK_EQ(sysctl(&op), -kENOSYS);
    op = sysctl_of(XEN_SYSCTL_psr_cmt_op);
    CHECK_EQ(sysctl(&op), -kENODEV);
    op = sysctl_of(XEN_SYSCTL_cpu_hotplug);
    op.u.cpu_hotplug.op = XEN_SYSCTL_CPU_HOTPLUG_OFFLINE;
    CHECK_EQ(sysctl(&op), -kEINVAL);  // the boot CPU
    op.u.cpu_hotplug.op = XEN_SYSCTL_CPU_HOTPLUG_ONLINE;
    CHECK_EQ(sysctl(&op), -kEEXIST);  // it is
    op.u.cpu_hotplug.cpu = 77;
    CHECK_EQ(sysctl(&op), -kEINVAL);
    op.u.cpu_hotplug.op = 9;
    CHECK_EQ(sysctl(&op), -kEOPNOTSUPP);
}

TEST(sysctl_counters, "XEN_SYSCTL_perfc_op: counts that grow, or none in this build", "") {
    static xen_sysctl_perfc_desc_t descriptions[64];
    static xen_sysctl_perfc_val_t values[4096];
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_perfc_op);
    op.u.perfc_op.cmd = XEN_SYSCTL_PERFCOP_query;
    if (sysctl(&op) == -kENOSYS) return;  // built without, as Debian's Xen
    CHECK(op.u.perfc_op.nr_counters > 0 && op.u.perfc_op.nr_counters <= 64);
    CHECK(op.u.perfc_op.nr_vals > 0 && op.u.perfc_op.nr_vals <= 4096);
    set_xen_guest_handle(op.u.perfc_op.desc, descriptions);
    set_xen_guest_handle(op.u.perfc_op.val, values);
    CHECK_EQ(sysctl(&op), 0);
    const auto before = values[__HYPERVISOR_sysctl];
    CHECK(before > 0);
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(values[__HYPERVISOR_sysctl], before + 1);
    op.u.perfc_op.cmd = 9;
    CHECK_EQ(sysctl(&op), -kEINVAL);
}

TEST(sysctl_page_offline_query, "XEN_SYSCTL_page_offline_op: asking of frames in use", "") {
    static uint32_t status[4] = {77, 77, 77, 77};
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_page_offline_op);
    const auto mfn = static_cast<uint32_t>(mfn_of(status));
    op.u.page_offline.cmd = sysctl_query_page_offline;
    op.u.page_offline.start = op.u.page_offline.end = mfn;
    set_xen_guest_handle(op.u.page_offline.status, status);
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(status[0], 0);
    op.u.page_offline.cmd = 9;
    CHECK_EQ(sysctl(&op), -kEINVAL);
    op.u.page_offline.end = mfn - 1;
    CHECK_EQ(sysctl(&op), -kEINVAL);
    op.u.page_offline.cmd = sysctl_query_page_offline;
    op.u.page_offline.start = op.u.page_offline.end = 0xf000'0000;  // no RAM there
    CHECK_EQ(sysctl(&op), -kEINVAL);
}

TEST(sysctl_pci_topology, "XEN_SYSCTL_pcitopoinfo: an unknown function; null and bad pointers",
     "") {
    physdev_pci_device_t device = {.seg = 77, .bus = 1, .devfn = 2};
    uint32_t node = 0;
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_pcitopoinfo);
    op.u.pcitopoinfo.num_devs = 1;
    CHECK_EQ(sysctl(&op), -kEINVAL);
    set_xen_guest_handle(op.u.pcitopoinfo.devs, &device);
    set_xen_guest_handle(op.u.pcitopoinfo.nodes, &node);
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(node, XEN_INVALID_DEV);
    set_xen_guest_handle(op.u.pcitopoinfo.nodes, reinterpret_cast<uint32_t*>(0x1000));
    CHECK_EQ(sysctl(&op), -kEFAULT);
}

TEST(sysctl_livepatch_empty, "XEN_SYSCTL_livepatch_op: no patch is in use; padding is checked",
     "") {
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_livepatch_op);
    op.u.livepatch.cmd = XEN_SYSCTL_LIVEPATCH_LIST;
    CHECK_EQ(sysctl(&op), 0);
    CHECK_EQ(op.u.livepatch.u.list.nr, 0);
    op.u.livepatch.pad = 1;
    CHECK_EQ(sysctl(&op), -kEINVAL);
}

TEST(virq_debug_by_key, "debug key q raises VIRQ_DEBUG on every vCPU", "") {
    evtchn_bind_virq bind = {.virq = VIRQ_DEBUG, .vcpu = 0};
    CHECK_EQ(event_channel_op(EVTCHNOP_bind_virq, &bind), 0);
    CHECK(!pending(bind.port));
    static char key[] = "q";
    xen_sysctl_t op = sysctl_of(XEN_SYSCTL_debug_keys);
    set_xen_guest_handle(op.u.debug_keys.keys, key);
    op.u.debug_keys.nr_keys = 1;
    CHECK_EQ(sysctl(&op), 0);
    CHECK(wait_for([&] { return pending(bind.port); }));
    clear_pending(bind.port);  // or the next test's user mode would be interrupted by it
    evtchn_close_t close = {.port = bind.port};
    CHECK_EQ(event_channel_op(EVTCHNOP_close, &close), 0);
    set_xen_guest_handle(op.u.debug_keys.keys, reinterpret_cast<char*>(0x1000));
    CHECK_EQ(sysctl(&op), -kEFAULT);
}

}  // namespace guest

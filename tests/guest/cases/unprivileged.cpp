// What a domain without privileges is refused: the policy's answers, seen from such a domain.
#include <initializer_list>

#include "child.hpp"
#include "events.hpp"
#include "print.hpp"
#include "test.hpp"
#include "traps.hpp"

namespace guest {

TEST(policy_control_calls, "domctl, sysctl, platform_op, kexec_op of an unprivileged domain", "") {
    Child child;
    xen_domctl_t dom = domctl_of(XEN_DOMCTL_pausedomain, 0);
    *child.scratch_as<xen_domctl_t>() = dom;
    CHECK_EQ(child.call(__HYPERVISOR_domctl, Child::scratch(0)), -kEPERM);
    for (const uint32_t cmd :
         {XEN_DOMCTL_createdomain, XEN_DOMCTL_destroydomain, XEN_DOMCTL_max_mem}) {
        child.scratch_as<xen_domctl_t>()->cmd = cmd;
        CHECK_EQ(child.call(__HYPERVISOR_domctl, Child::scratch(0)), -kEPERM);
    }
    for (const uint32_t cmd :
         {XEN_SYSCTL_physinfo, XEN_SYSCTL_readconsole, XEN_SYSCTL_getdomaininfolist}) {
        *child.scratch_as<xen_sysctl_t>() = sysctl_of(cmd);
        CHECK_EQ(child.call(__HYPERVISOR_sysctl, Child::scratch(0)), -kEPERM);
    }
    auto* platform = child.scratch_as<xen_platform_op_t>();
    *platform = {};
    platform->cmd = XENPF_get_cpuinfo;
    platform->interface_version = XENPF_INTERFACE_VERSION;
    CHECK_EQ(child.call(__HYPERVISOR_platform_op, Child::scratch(0)), -kEPERM);
    CHECK_EQ(child.call(__HYPERVISOR_kexec_op, 0, Child::scratch(0)), -kEPERM);
    CHECK_EQ(child.call(__HYPERVISOR_mca, Child::scratch(0)), -kEPERM);
    child.destroy();
}

TEST(policy_version, "xen_version of an unprivileged domain: what is told, what is not", "") {
    Child child;
    CHECK_EQ(child.call(__HYPERVISOR_xen_version, XENVER_version), 4 << 16 | 17);
    CHECK_EQ(child.call(__HYPERVISOR_xen_version, XENVER_capabilities, Child::scratch(0)), 0);
    auto* features = child.scratch_as<xen_feature_info_t>();
    *features = {};
    CHECK_EQ(child.call(__HYPERVISOR_xen_version, XENVER_get_features, Child::scratch(0)), 0);
    CHECK(!(features->submap & 1u << XENFEAT_dom0));
    CHECK(features->submap & 1u << XENFEAT_mmu_pt_update_preserve_ad);
    auto* text = child.scratch_as<char>();
    CHECK_EQ(child.call(__HYPERVISOR_xen_version, XENVER_commandline, Child::scratch(0)), 0);
    for (unsigned i = 0; i < 64; ++i) CHECK(memcmp(text + i, "dom0_mem", 8) != 0);
    CHECK_EQ(child.call(__HYPERVISOR_xen_version, XENVER_build_id, 0), -kEPERM);
    // The handle is its own, not Domain 0's.
    CHECK_EQ(child.call(__HYPERVISOR_xen_version, XENVER_guest_handle, Child::scratch(0)), 0);
    CHECK_EQ(text[0], 0x42);
    child.destroy();
}

TEST(policy_memory, "memory_op of an unprivileged domain on others, and on the machine", "") {
    Child child;
    auto* map = child.scratch_as<xen_memory_map_t>();
    *map = {.nr_entries = 8};
    set_xen_guest_handle(map->buffer, reinterpret_cast<void*>(Child::scratch(16)));
    CHECK_EQ(child.call(__HYPERVISOR_memory_op, XENMEM_machine_memory_map, Child::scratch(0)),
             -kEPERM);
    auto* r = child.scratch_as<xen_memory_reservation_t>();
    *r = {.nr_extents = 1, .domid = 0};
    set_xen_guest_handle(r->extent_start, reinterpret_cast<xen_pfn_t*>(Child::scratch(16)));
    CHECK_EQ(child.call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, Child::scratch(0)), 0);
    CHECK_EQ(child.call(__HYPERVISOR_memory_op, XENMEM_decrease_reservation, Child::scratch(0)), 0);
    *r = {.nr_extents = 1, .domid = 0};
    CHECK_EQ(child.call(__HYPERVISOR_memory_op, XENMEM_claim_pages, Child::scratch(0)), -kEPERM);
    auto* who = child.scratch_as<xen_memory_domain>();
    *who = {.domid = 0};
    CHECK_EQ(child.call(__HYPERVISOR_memory_op, XENMEM_current_reservation, Child::scratch(0)),
             -kEPERM);
    auto* resource = child.scratch_as<xen_mem_acquire_resource_t>();
    *resource = {.domid = 0, .type = XENMEM_resource_grant_table};
    CHECK_EQ(child.call(__HYPERVISOR_memory_op, XENMEM_acquire_resource, Child::scratch(0)),
             -kEPERM);
    child.destroy();
}

TEST(policy_page_tables, "mmu_update and mmuext_op of an unprivileged domain in another's name",
     "") {
    Child child;
    auto* update = child.scratch_as<mmu_update_t>();
    *update = {child.mfn(3) << 12 | 60 * 8, pte(mfn_of(alloc_page()), kDataFlags)};
    CHECK_EQ(child.call(__HYPERVISOR_mmu_update, Child::scratch(0), 1, 0, 0), -kEPERM);
    auto* op = child.scratch_as<mmuext_op_t>();
    *op = {};
    op->cmd = MMUEXT_UNPIN_TABLE;
    op->arg1.mfn = mfn_of(boot_l4());
    CHECK_EQ(child.call(__HYPERVISOR_mmuext_op, Child::scratch(0), 1, 0, 0), -kEPERM);
    CHECK_EQ(child.call(__HYPERVISOR_mmuext_op, Child::scratch(0), 1, 0, DOMID_SELF), -kEINVAL);
    op->cmd = MMUEXT_NEW_BASEPTR;
    CHECK_EQ(child.call(__HYPERVISOR_mmuext_op, Child::scratch(0), 1, 0, DOMID_SELF), -kEINVAL);
    CHECK_EQ(child.call(__HYPERVISOR_update_va_mapping_otherdomain, Child::va(60), update->val,
                        UVMF_INVLPG, 0),
             -kEPERM);
    child.destroy();
}

TEST(policy_events, "event channels of an unprivileged domain for others", "") {
    Child child;
    auto* alloc = child.scratch_as<evtchn_alloc_unbound_t>();
    *alloc = {.dom = 0, .remote_dom = child.id()};
    CHECK_EQ(child.call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, Child::scratch(0)),
             -kEPERM);
    auto* status = child.scratch_as<evtchn_status_t>();
    *status = {.dom = 0, .port = 1};
    CHECK_EQ(child.call(__HYPERVISOR_event_channel_op, EVTCHNOP_status, Child::scratch(0)),
             -kEPERM);
    auto* reset = child.scratch_as<evtchn_reset_t>();
    *reset = {.dom = 0};
    CHECK_EQ(child.call(__HYPERVISOR_event_channel_op, EVTCHNOP_reset, Child::scratch(0)), -kEPERM);
    // A port that waits for somebody else cannot be taken.
    const Port waiting = alloc_unbound(77);
    auto* bind = child.scratch_as<evtchn_bind_interdomain_t>();
    *bind = {.remote_dom = 0, .remote_port = waiting};
    CHECK_EQ(
        child.call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, Child::scratch(0)),
        -kEINVAL);
    CHECK_EQ(port_status(waiting).status, EVTCHNSTAT_unbound);
    CHECK_EQ(close_port(waiting), 0);
    auto* pirq = child.scratch_as<evtchn_bind_pirq_t>();
    *pirq = {.pirq = 9};
    CHECK_EQ(child.call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_pirq, Child::scratch(0)),
             -kEPERM);
    child.destroy();
}

TEST(policy_sched, "sched_op of an unprivileged domain: nobody else is shut down, no pinning", "") {
    Child child;
    auto* remote = child.scratch_as<sched_remote_shutdown_t>();
    *remote = {.domain_id = 0, .reason = SHUTDOWN_crash};
    CHECK_EQ(child.call(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, Child::scratch(0)),
             -kEPERM);
    auto* pin = child.scratch_as<sched_pin_override_t>();
    *pin = {.pcpu = 0};
    CHECK_EQ(child.call(__HYPERVISOR_sched_op, SCHEDOP_pin_override, Child::scratch(0)), -kEPERM);
    child.destroy();
}

TEST(policy_grants, "grant_table_op of an unprivileged domain on another's table", "") {
    Child child;
    auto* setup = child.scratch_as<gnttab_setup_table_t>();
    *setup = {.dom = 0, .nr_frames = 1};
    set_xen_guest_handle(setup->frame_list, reinterpret_cast<xen_pfn_t*>(Child::scratch(16)));
    CHECK_EQ(child.call(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, Child::scratch(0), 1),
             0);
    CHECK_EQ(setup->status, GNTST_permission_denied);
    auto* size = child.scratch_as<gnttab_query_size_t>();
    *size = {.dom = 0};
    CHECK_EQ(child.call(__HYPERVISOR_grant_table_op, GNTTABOP_query_size, Child::scratch(0), 1), 0);
    CHECK_EQ(size->status, GNTST_permission_denied);
    auto* map = child.scratch_as<gnttab_map_grant_ref_t>();
    *map = {.host_addr = Child::va(60), .flags = GNTMAP_host_map, .ref = 400, .dom = 0};
    CHECK_EQ(child.call(__HYPERVISOR_grant_table_op, GNTTABOP_map_grant_ref, Child::scratch(0), 1),
             0);
    CHECK(map->status < 0);
    child.destroy();
}

TEST(policy_physdev, "physdev_op of an unprivileged domain: no GSI, no PCI device, no I/O ports",
     "") {
    Child child;
    auto* gsi = child.scratch_as<physdev_setup_gsi_t>();
    *gsi = {.gsi = 11, .triggering = 1, .polarity = 1};
    CHECK_EQ(child.call(__HYPERVISOR_physdev_op, PHYSDEVOP_setup_gsi, Child::scratch(0)), -kEPERM);
    auto* apic = child.scratch_as<physdev_apic_t>();
    *apic = {.apic_physbase = 0xfec00000, .reg = 1};
    CHECK_EQ(child.call(__HYPERVISOR_physdev_op, PHYSDEVOP_apic_read, Child::scratch(0)), -kEPERM);
    auto* map = child.scratch_as<physdev_map_pirq_t>();
    *map = {.domid = DOMID_SELF, .type = MAP_PIRQ_TYPE_GSI, .index = 11, .pirq = 11};
    CHECK_EQ(child.call(__HYPERVISOR_physdev_op, PHYSDEVOP_map_pirq, Child::scratch(0)), -kEPERM);
    child.destroy();
}

TEST(policy_console, "console_io of an unprivileged domain", "") {
    Child child;
    memcpy(child.scratch_as<char>(), "from below\n", 11);
    CHECK_EQ(child.call(__HYPERVISOR_console_io, CONSOLEIO_write, 11, Child::scratch(0)), -kEPERM);
    CHECK_EQ(child.call(__HYPERVISOR_console_io, CONSOLEIO_read, 11, Child::scratch(0)), -kEPERM);
    child.destroy();
}

TEST(policy_vcpus, "vcpu_op of an unprivileged domain knows its own vCPUs only", "") {
    Child child;
    CHECK_EQ(child.call(__HYPERVISOR_vcpu_op, VCPUOP_is_up, 0), 1);
    CHECK_EQ(child.call(__HYPERVISOR_vcpu_op, VCPUOP_is_up, 1), -kENOENT);
    CHECK_EQ(child.call(__HYPERVISOR_vcpu_op, VCPUOP_get_physid, 0, Child::scratch(0)), -kEINVAL);
    CHECK_EQ(child.call(__HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, 0, Child::scratch(0)), 0);
    CHECK_EQ(child.scratch_as<vcpu_runstate_info_t>()->state, RUNSTATE_running);
    child.destroy();
}

}  // namespace guest

// The whole table of who may do what, asked by a domain without privileges: every operation of
// every family for the control domain, by number, whether or not it exists.
#include <initializer_list>

#include "child.hpp"
#include "print.hpp"
#include "test.hpp"

#include <xen/hypfs.h>
#include <xen/kexec.h>

namespace guest {
namespace {

/// Refused for another reason before anybody asks who it is: what they name cannot be.
bool is_refused_earlier(uint32_t cmd) {
    switch (cmd) {
        case XEN_DOMCTL_set_target:
        case XEN_DOMCTL_ioport_permission:
        case XEN_DOMCTL_ioport_mapping:
        case XEN_DOMCTL_memory_mapping:
        case XEN_DOMCTL_irq_permission:
        case XEN_DOMCTL_iomem_permission:
        case XEN_DOMCTL_bind_pt_irq:
        case XEN_DOMCTL_unbind_pt_irq:
        case XEN_DOMCTL_get_device_group:
        case XEN_DOMCTL_vm_event_op:
            return true;
    }
    return false;
}

}  // namespace

TEST(policy_every_domctl, "each domctl by number on Domain 0, as an unprivileged domain", "") {
    Child child;
    auto* op = child.scratch_as<xen_domctl_t>();
    for (uint32_t cmd = 0; cmd < 1010; cmd = cmd == 100 ? 1000 : cmd + 1) {
        *op = domctl_of(cmd, 0);
        op->u.vm_event_op.op = 0xff;
        const long rc = child.call(__HYPERVISOR_domctl, Child::scratch(0));
        if (is_refused_earlier(cmd) ? rc < 0 : rc == -kEPERM) continue;
        fail("domctl %u: %ld", cmd, rc);
    }
    *op = domctl_of(XEN_DOMCTL_destroydomain, 1234);
    CHECK_EQ(child.call(__HYPERVISOR_domctl, Child::scratch(0)), -kESRCH);
    child.destroy();
}

TEST(policy_every_sysctl, "each sysctl and platform_op by number, as an unprivileged domain", "") {
    Child child;
    for (uint32_t cmd = 0; cmd < 64; ++cmd) {
        *child.scratch_as<xen_sysctl_t>() = sysctl_of(cmd);
        const long rc = child.call(__HYPERVISOR_sysctl, Child::scratch(0));
        if (rc != -kEPERM) fail("sysctl %u: %ld", cmd, rc);
    }
    auto* platform = child.scratch_as<xen_platform_op_t>();
    for (uint32_t cmd = 0; cmd < 80; ++cmd) {
        *platform = {};
        platform->cmd = cmd;
        platform->interface_version = XENPF_INTERFACE_VERSION;
        const long rc = child.call(__HYPERVISOR_platform_op, Child::scratch(0));
        if (rc != -kEPERM) fail("platform_op %u: %ld", cmd, rc);
    }
    child.destroy();
}

TEST(policy_every_other, "kexec, hypfs, console_io, physdev by number, as an unprivileged domain",
     "") {
    Child child;
    for (unsigned cmd = 0; cmd < 16; ++cmd) {
        CHECK_EQ(child.call(__HYPERVISOR_kexec_op, cmd, Child::scratch(0)), -kEPERM);
        CHECK_EQ(child.call(__HYPERVISOR_hypfs_op, cmd, Child::scratch(0), 8), -kEPERM);
    }
    for (const unsigned cmd : {CONSOLEIO_write, CONSOLEIO_read})
        CHECK_EQ(child.call(__HYPERVISOR_console_io, cmd, 8, Child::scratch(0)), -kEPERM);
    for (const unsigned cmd :
         {PHYSDEVOP_apic_read, PHYSDEVOP_apic_write, PHYSDEVOP_alloc_irq_vector,
          PHYSDEVOP_manage_pci_add, PHYSDEVOP_manage_pci_remove, PHYSDEVOP_restore_msi,
          PHYSDEVOP_manage_pci_add_ext, PHYSDEVOP_setup_gsi, PHYSDEVOP_pci_mmcfg_reserved,
          PHYSDEVOP_pci_device_add, PHYSDEVOP_pci_device_remove, PHYSDEVOP_restore_msi_ext,
          PHYSDEVOP_prepare_msix, PHYSDEVOP_release_msix, PHYSDEVOP_dbgp_op}) {
        for (unsigned word = 0; word < 8; ++word) child.mailbox().scratch[word] = 0;
        const long rc = child.call(__HYPERVISOR_physdev_op, cmd, Child::scratch(0));
        if (rc >= 0) fail("physdev_op %u: %ld", cmd, rc);
    }
    child.destroy();
}

}  // namespace guest

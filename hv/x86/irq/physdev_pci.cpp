#include <cstdint>

#include <xen/physdev.h>

#include <array>

#include "hv/domain/domain.hpp"
#include "hv/policy/policy.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/irq/pci_devices.hpp"
#include "hv/x86/irq/physdev.hpp"
#include "hv/x86/irq/pirq.hpp"

namespace hv::irq::physdev {
namespace {

Outcome add(Domain& caller, Bdf bdf, const PciDeviceInfo& info) {
    TRY(policy::check(policy::Op::kPhysdev, caller));
    return add_pci_device(bdf, info);
}

Outcome remove(Domain& caller, Bdf bdf) {
    TRY(policy::check(policy::Op::kPhysdev, caller));
    TRY(remove_pci_device(bdf));
    forget_messages(caller, bdf);
    return Outcome(0);
}

Outcome restore(Domain& caller, Bdf bdf) {
    TRY(policy::check(policy::Op::kPhysdev, caller));
    TRY(find_pci_device(bdf));
    return restore_messages(caller, bdf);
}

Outcome hold(Domain& caller, GuestAddress argument, bool held) {
    const auto op = TRY(GuestIn<physdev_pci_device>(argument.raw()).load());
    TRY(policy::check(policy::Op::kPhysdev, caller));
    return hold_msix(make_bdf(op.seg, op.bus, op.devfn), held);
}

/// Which ranges of the MCFG Domain 0 found reserved in the ACPI namespace, and so fit for use.
std::array<std::atomic<bool>, 16> g_mcfg_reserved;

}  // namespace

Outcome manage_pci_add(Domain& caller, GuestAddress argument) {
    const auto op = TRY(GuestIn<physdev_manage_pci>(argument.raw()).load());
    return add(caller, make_bdf(0, op.bus, op.devfn), {});
}

Outcome manage_pci_add_ext(Domain& caller, GuestAddress argument) {
    const auto op = TRY(GuestIn<physdev_manage_pci_ext>(argument.raw()).load());
    if (op.is_extfn > 1 || op.is_virtfn > 1) return Errno::kEINVAL;
    PciDeviceInfo info;
    info.is_extended = op.is_extfn;
    info.is_virtual = op.is_virtfn;
    info.physical = make_bdf(0, op.physfn.bus, op.physfn.devfn);
    return add(caller, make_bdf(0, op.bus, op.devfn), info);
}

Outcome manage_pci_remove(Domain& caller, GuestAddress argument) {
    const auto op = TRY(GuestIn<physdev_manage_pci>(argument.raw()).load());
    return remove(caller, make_bdf(0, op.bus, op.devfn));
}

Outcome pci_device_add(Domain& caller, GuestAddress argument) {
    const auto op = TRY(GuestIn<physdev_pci_device_add>(argument.raw()).load());
    PciDeviceInfo info;
    info.is_extended = op.flags & XEN_PCI_DEV_EXTFN;
    info.is_virtual = op.flags & XEN_PCI_DEV_VIRTFN;
    if (info.is_virtual) info.physical = make_bdf(op.seg, op.physfn.bus, op.physfn.devfn);
    if (op.flags & XEN_PCI_DEV_PXM) {
        const GuestIn<uint32_t> optional(argument.raw() + offsetof(physdev_pci_device_add, optarr));
        info.proximity = TRY(optional.load());
    }
    return add(caller, make_bdf(op.seg, op.bus, op.devfn), info);
}

Outcome pci_device_remove(Domain& caller, GuestAddress argument) {
    const auto op = TRY(GuestIn<physdev_pci_device>(argument.raw()).load());
    return remove(caller, make_bdf(op.seg, op.bus, op.devfn));
}

Outcome pci_mmcfg_reserved(Domain& caller, GuestAddress argument) {
    TRY(policy::check(policy::Op::kPhysdev, caller));
    const auto op = TRY(GuestIn<physdev_pci_mmcfg_reserved>(argument.raw()).load());
    const auto& ranges = acpi::info().mcfg;
    for (size_t i = 0; i < ranges.size(); ++i) {
        if (ranges[i].address != op.address || ranges[i].segment != op.segment) continue;
        if (ranges[i].start_bus != op.start_bus) continue;
        g_mcfg_reserved[i].store(op.flags & XEN_PCI_MMCFG_RESERVED);
        return Outcome(0);
    }
    return Errno::kENODEV;
}

Outcome restore_msi(Domain& caller, GuestAddress argument) {
    const auto op = TRY(GuestIn<physdev_restore_msi>(argument.raw()).load());
    return restore(caller, make_bdf(0, op.bus, op.devfn));
}

Outcome restore_msi_ext(Domain& caller, GuestAddress argument) {
    const auto op = TRY(GuestIn<physdev_pci_device>(argument.raw()).load());
    return restore(caller, make_bdf(op.seg, op.bus, op.devfn));
}

Outcome prepare_msix(Domain& caller, GuestAddress argument) {
    return hold(caller, argument, true);
}
Outcome release_msix(Domain& caller, GuestAddress argument) {
    return hold(caller, argument, false);
}

/// Domain 0 resets the EHCI controller whose debug port may be the console. Ours never is, so
/// there is nothing to prepare: Xen answers the same without `console=dbgp`.
Outcome dbgp_op(Domain& caller, GuestAddress argument) {
    if (!caller.is_hardware) return Errno::kEPERM;
    TRY(GuestIn<physdev_dbgp_op>(argument.raw()).load());
    return Outcome(0);
}

}  // namespace hv::irq::physdev

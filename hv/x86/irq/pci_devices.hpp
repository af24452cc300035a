// The PCI functions that Domain 0 has found and told of (PHYSDEVOP_pci_device_add and its elders).
#pragma once

#include "base/result.hpp"
#include "hv/x86/irq/pci.hpp"

namespace hv::irq {

struct PciDeviceInfo {
    bool is_extended = false;  ///< its function number reaches into the device number (ARI)
    bool is_virtual = false;   ///< an SR-IOV virtual function of `physical`
    Bdf physical{0};
    uint32_t proximity = ~uint32_t{0};  ///< ACPI proximity domain, if told
};

/// Records a function; one that is known already is described anew. kENODEV: nothing answers
/// there; kENOMEM.
Result<> add_pci_device(Bdf bdf, const PciDeviceInfo& info);
/// kENODEV: not known.
Result<> remove_pci_device(Bdf bdf);
/// What was recorded; kENODEV.
Result<PciDeviceInfo> find_pci_device(Bdf bdf);
/// PHYSDEVOP_prepare_msix, _release_msix: whether the device's MSI-X resources are held still.
/// kENODEV: not known, or without MSI-X; kEBUSY: it is that way already.
Result<> hold_msix(Bdf bdf, bool held);

}  // namespace hv::irq

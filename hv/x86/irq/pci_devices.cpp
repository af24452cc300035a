#include "hv/x86/irq/pci_devices.hpp"

#include "arch/topology.hpp"
#include "base/list.hpp"
#include "base/lock.hpp"
#include "hv/lock_rank.hpp"
#include "hv/memory/heap.hpp"
#include "hv/x86/acpi/nodes.hpp"

namespace hv::irq {
namespace {

struct PciDevice : ListNode<PciDevice> {
    Bdf bdf{0};
    PciDeviceInfo info;
    bool msix_held = false;
};

Locked<List<PciDevice>, Rank::kPirq> g_devices;

PciDevice* find(List<PciDevice>& devices, Bdf bdf) {
    for (PciDevice& device : devices)
        if (device.bdf == bdf) return &device;
    return nullptr;
}

}  // namespace

Result<> add_pci_device(Bdf bdf, const PciDeviceInfo& info) {
    if (!pci_exists(bdf)) return Errno::kENODEV;
    auto devices = g_devices.lock();
    PciDevice* device = find(*devices, bdf);
    if (!device) {
        device = heap::create<PciDevice>();
        if (!device) return Errno::kENOMEM;
        device->bdf = bdf;
        devices->push_back(*device);
    }
    device->info = info;
    return {};
}

Result<> remove_pci_device(Bdf bdf) {
    auto devices = g_devices.lock();
    PciDevice* device = find(*devices, bdf);
    if (!device) return Errno::kENODEV;
    devices->remove(*device);
    heap::destroy(device);
    return {};
}

Result<PciDeviceInfo> find_pci_device(Bdf bdf) {
    auto devices = g_devices.lock();
    const PciDevice* device = find(*devices, bdf);
    if (!device) return Errno::kENODEV;
    return device->info;
}

Result<> hold_msix(Bdf bdf, bool held) {
    auto devices = g_devices.lock();
    PciDevice* device = find(*devices, bdf);
    if (!device || !pci_find_capability(bdf, kCapabilityMsix)) return Errno::kENODEV;
    if (device->msix_held == held) return Errno::kEBUSY;
    device->msix_held = held;
    return {};
}

}  // namespace hv::irq

namespace hv::arch {

Result<uint32_t> node_of_pci(uint16_t segment, uint8_t bus, uint8_t devfn) {
    constexpr uint32_t kNotTold = ~uint32_t{0};  // also XEN_INVALID_NODE_ID
    const auto info = TRY(irq::find_pci_device(irq::make_bdf(segment, bus, devfn)));
    if (info.proximity == kNotTold) return kNotTold;
    const auto node = acpi::node_of_proximity(info.proximity);
    return node ? *node : kNotTold;
}

}  // namespace hv::arch

// The physdev_op hypercall: interrupts, I/O privileges and PCI for domains with hardware.
#include <cstdint>

#include <xen/physdev.h>

#include "arch/cpu.hpp"
#include "hv/domain/domain.hpp"
#include "hv/hypercall/handlers.hpp"
#include "hv/x86/irq/physdev.hpp"

namespace hv {
namespace {

using irq::physdev::Command;

Outcome set_iopl(Domain&, GuestAddress argument) {
    const auto op = TRY(GuestIn<physdev_set_iopl>(argument.raw()).load());
    if (op.iopl > 3) return Errno::kEINVAL;
    arch::current().arch.pv.iopl = op.iopl;
    return Outcome(0);
}

/// The bitmap stays in the guest's memory and is read at each access that IOPL does not permit.
Outcome set_iobitmap(Domain&, GuestAddress argument) {
    const auto op = TRY(GuestIn<physdev_set_iobitmap>(argument.raw()).load());
    if (op.nr_ports > 65536) return Errno::kEINVAL;
    arch::PvVcpu& pv = arch::current().arch.pv;
    pv.physdev_port_bitmap = GuestAddress(op.bitmap).raw();
    pv.physdev_port_bitmap_bytes = (op.nr_ports + 7) / 8;
    return Outcome(0);
}

constexpr Command kCommands[] = {
    {PHYSDEVOP_irq_status_query, irq::physdev::irq_status_query},
    {PHYSDEVOP_set_iopl, set_iopl},
    {PHYSDEVOP_set_iobitmap, set_iobitmap},
    {PHYSDEVOP_apic_read, irq::physdev::apic_read},
    {PHYSDEVOP_apic_write, irq::physdev::apic_write},
    {PHYSDEVOP_alloc_irq_vector, irq::physdev::alloc_irq_vector},
    {PHYSDEVOP_eoi, irq::physdev::eoi},
    {PHYSDEVOP_map_pirq, irq::physdev::map_pirq},
    {PHYSDEVOP_unmap_pirq, irq::physdev::unmap_pirq},
    {PHYSDEVOP_manage_pci_add, irq::physdev::manage_pci_add},
    {PHYSDEVOP_manage_pci_remove, irq::physdev::manage_pci_remove},
    {PHYSDEVOP_pirq_eoi_gmfn_v1, irq::physdev::pirq_eoi_gmfn_v1},
    {PHYSDEVOP_restore_msi, irq::physdev::restore_msi},
    {PHYSDEVOP_manage_pci_add_ext, irq::physdev::manage_pci_add_ext},
    {PHYSDEVOP_setup_gsi, irq::physdev::setup_gsi},
    {PHYSDEVOP_get_free_pirq, irq::physdev::get_free_pirq},
    {PHYSDEVOP_pci_mmcfg_reserved, irq::physdev::pci_mmcfg_reserved},
    {PHYSDEVOP_pci_device_add, irq::physdev::pci_device_add},
    {PHYSDEVOP_pci_device_remove, irq::physdev::pci_device_remove},
    {PHYSDEVOP_restore_msi_ext, irq::physdev::restore_msi_ext},
    {PHYSDEVOP_pirq_eoi_gmfn_v2, irq::physdev::pirq_eoi_gmfn_v2},
    {PHYSDEVOP_dbgp_op, irq::physdev::dbgp_op},
    {PHYSDEVOP_prepare_msix, irq::physdev::prepare_msix},
    {PHYSDEVOP_release_msix, irq::physdev::release_msix},
};

}  // namespace

Outcome do_physdev_op(uint64_t command, uint64_t argument, uint64_t, uint64_t, uint64_t) {
    const auto number = static_cast<uint32_t>(command);
    for (const Command& c : kCommands)
        if (c.number == number) return c.run(*arch::current().domain, GuestAddress(argument));
    return Errno::kENOSYS;
}

}  // namespace hv

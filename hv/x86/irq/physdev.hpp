// The families of PHYSDEVOP_*; physdev_op.cpp chooses among them. Rules of each operation:
// xen/physdev.h.
#pragma once

#include "hv/hypercall/guest_ptr.hpp"
#include "hv/hypercall/outcome.hpp"

namespace hv {
struct Domain;
}

namespace hv::irq::physdev {

/// Every command is a row: its number, and what it does for the calling domain.
struct Command {
    uint32_t number;
    Outcome (*run)(Domain& caller, GuestAddress argument);
};

// physdev_pirq.cpp
Outcome map_pirq(Domain& caller, GuestAddress argument);
Outcome unmap_pirq(Domain& caller, GuestAddress argument);
Outcome get_free_pirq(Domain& caller, GuestAddress argument);
Outcome eoi(Domain& caller, GuestAddress argument);
Outcome irq_status_query(Domain& caller, GuestAddress argument);
Outcome pirq_eoi_gmfn_v1(Domain& caller, GuestAddress argument);
Outcome pirq_eoi_gmfn_v2(Domain& caller, GuestAddress argument);

// physdev_apic.cpp
Outcome setup_gsi(Domain& caller, GuestAddress argument);
Outcome apic_read(Domain& caller, GuestAddress argument);
Outcome apic_write(Domain& caller, GuestAddress argument);
Outcome alloc_irq_vector(Domain& caller, GuestAddress argument);

// physdev_pci.cpp
Outcome manage_pci_add(Domain& caller, GuestAddress argument);
Outcome manage_pci_add_ext(Domain& caller, GuestAddress argument);
Outcome manage_pci_remove(Domain& caller, GuestAddress argument);
Outcome pci_device_add(Domain& caller, GuestAddress argument);
Outcome pci_device_remove(Domain& caller, GuestAddress argument);
Outcome pci_mmcfg_reserved(Domain& caller, GuestAddress argument);
Outcome restore_msi(Domain& caller, GuestAddress argument);
Outcome restore_msi_ext(Domain& caller, GuestAddress argument);
Outcome prepare_msix(Domain& caller, GuestAddress argument);
Outcome release_msix(Domain& caller, GuestAddress argument);
Outcome dbgp_op(Domain& caller, GuestAddress argument);

}  // namespace hv::irq::physdev

// Message-signalled interrupts: capabilities MSI and MSI-X of a PCI function (PCI 3.0, 6.8).
//
// The hypervisor alone writes messages and MSI-X table entries; Domain 0's driver writes the
// enable bits of the capability, as Linux does under Xen.
#pragma once

#include "base/result.hpp"
#include "hv/x86/irq/pci.hpp"

namespace hv::irq {

/// One message of a function.
struct Msi {
    Bdf bdf{0};
    uint8_t capability = 0;  ///< offset of the capability
    bool is_msix = false;
    bool is_64bit = false;  ///< MSI: address of two words
    bool maskable = false;  ///< MSI-X always; MSI if its capability has mask bits
    uint16_t entry = 0;     ///< MSI-X: index in the table
    volatile uint32_t* table_entry = nullptr;  ///< MSI-X: four words, mapped
};

/// Where a message goes.
struct MsiTarget {
    uint8_t apic_id;
    uint8_t vector;
};

/// Describes the function's MSI (with `table_base` 0) or entry `entry` of its MSI-X table.
/// `table_base`: start of the BAR the table is in, used where the function itself does not say
/// (virtual functions). kENODEV: no such function or capability; kEINVAL: entry out of range or
/// a table at an impossible place; kENXIO: the function does not decode memory; kENOSPC.
Result<Msi> find_msi(Bdf bdf, uint16_t entry, uint64_t table_base);

/// Writes the message, masked; messages that cannot be masked are complete in one cycle at most
/// if only the CPU changes.
void write_message(const Msi& msi, MsiTarget target);
/// Has no effect if it is not maskable.
void set_message_masked(const Msi& msi, bool masked);
/// Switches the capability on or off. MSI-X goes on per function, when its first entry is used.
void enable_messages(const Msi& msi, bool on);

/// Whether an MSI-X table lies in the frame: Domain 0 may only read it.
bool is_msix_table(Mfn mfn);

}  // namespace hv::irq

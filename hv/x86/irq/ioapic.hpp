// The I/O APICs: pins of devices, numbered across all of them as global system interrupts (GSI).
// Register layout after Intel's 82093AA data sheet, chapter 3.
#pragma once

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::irq::ioapic {

/// How a pin is delivered: one CPU, by its APIC id (physical mode, fixed).
struct Route {
    uint8_t vector = 0;
    bool level = false;  ///< level triggered, else edge
    bool active_low = false;
    uint8_t apic_id = 0;
};

/// Maps those that the MADT lists and masks every pin. Boot CPU, after acpi::init().
void init();

/// One above the highest GSI.
uint32_t gsi_count();
/// Whether a pin has that number (there may be gaps between controllers).
bool has_pin(uint32_t gsi);

/// Programs a pin and leaves it masked. The pin must exist (has_pin()), here and below.
void set_route(uint32_t gsi, const Route& route);
/// Sends its interrupts to another CPU; neither mask nor vector change.
void set_destination(uint32_t gsi, uint8_t apic_id);
void set_masked(uint32_t gsi, bool masked);

/// PHYSDEVOP_apic_read: a register of the I/O APIC whose registers lie at `physical_base`;
/// kEINVAL if there is none.
Result<uint32_t> read_register(uint64_t physical_base, uint8_t reg);
/// The GSI of a redirection register of that I/O APIC; kEINVAL: it is none.
Result<uint32_t> gsi_of_register(uint64_t physical_base, uint32_t reg);

/// Masks everything, before a reset.
void shut_down();

}  // namespace hv::irq::ioapic

// What the firmware says about the machine.
#pragma once

#include "hv/x86/acpi/tables.hpp"

namespace hv::acpi {

/// Finds and reads the tables; once at boot, when arch::map_device works and before interrupt
/// controllers, timers and other CPUs are touched. `root_pointer`: as the loader tells it
/// (multiboot 2's tag), empty: look in the places of a PC BIOS. What the hypervisor cannot do
/// without (no tables, no MADT, no I/O APIC) ends in a panic that names it.
void init(Bytes root_pointer);

/// After init().
const Info& info();

/// Where PCI configuration space of that segment and bus is mapped; 0: nowhere.
uint64_t mcfg_address(uint16_t segment, uint8_t bus);

/// Writes PM1 control registers so that the machine sleeps: `a` and `b` are the values for PM1a
/// and PM1b (SLP_TYP and SLP_EN included or not, SLP_EN is added). Returns only if the machine
/// did not power off; kENODEV without PM1 registers.
Result<> enter_soft_off(uint16_t a, uint16_t b);

}  // namespace hv::acpi

// The local APIC of the CPU that calls, as xAPIC (memory) or x2APIC (MSRs) behind one interface.
// Register numbers and bits after Intel's manual, volume 3, chapter 11 ("APIC").
#pragma once

#include <cstdint>

#include "hv/limits.hpp"

namespace hv::irq::lapic {

/// Chooses the mode (x2APIC if the CPU has it and `x2apic` allows, or the firmware switched it on
/// already) and enables this CPU's APIC: spurious and error vectors, all local sources masked.
/// The boot CPU calls it first, after acpi::init(); then every other CPU as it comes up.
void init_cpu();

void eoi();
uint32_t id();  ///< of this CPU, as the MADT and destinations name it
bool is_x2apic();

/// The APIC id of an online CPU.
uint32_t id_of(CpuId cpu);
void set_id_of(CpuId cpu, uint32_t apic_id);

void send_ipi(CpuId cpu, uint8_t vector);
void send_ipi(const CpuMask& cpus, uint8_t vector);  ///< this CPU, if in it, is left out
void send_ipi_all_but_self(uint8_t vector);          ///< all online CPUs

/// The two steps that start another CPU (manual, "MP Initialization Protocol"): INIT, then SIPI
/// that lets it begin in real mode at `page` << 12. Waiting between them is the caller's.
void send_init(uint32_t apic_id);
void send_nmi(uint32_t apic_id);
void send_startup(uint32_t apic_id, uint8_t page);

/// The timer. Tick mode counts down once from `ticks` (0 stops it) at the bus clock, undivided;
/// deadline mode fires when the TSC reaches `tsc` (0 disarms).
bool has_tsc_deadline();
void set_timer_ticks(uint32_t ticks);
void set_timer_deadline(uint64_t tsc);
uint32_t read_timer_ticks();

/// Switches the APIC off, as the firmware expects before a reset or power-off.
void shut_down();

/// An interrupt on kVectorError: reads the reason and logs it, rarely.
void handle_error();

}  // namespace hv::irq::lapic

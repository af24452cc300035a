#include "hv/x86/irq/line_hardware.hpp"

#include "hv/x86/irq/ioapic.hpp"
#include "hv/x86/irq/lapic.hpp"

namespace hv::irq {
namespace {

/// Pins and messages name a CPU in eight bits (without interrupt remapping), and 255 means all.
uint8_t destination_of(const Irq& line) {
    const uint32_t id = lapic::id_of(line.cpu);
    return static_cast<uint8_t>(id < 255 ? id : lapic::id_of(0));
}

}  // namespace

void program(Irq& line) {
    const uint8_t apic_id = destination_of(line);
    if (line.is_msi)
        write_message(line.msi, {apic_id, line.vector});
    else
        ioapic::set_route(line.gsi, {line.vector, line.level, line.active_low, apic_id});
}

void set_masked(Irq& line, bool masked) {
    if (line.is_msi)
        set_message_masked(line.msi, masked);
    else
        ioapic::set_masked(line.gsi, masked);
}

void retarget(Irq& line) {
    const uint8_t apic_id = destination_of(line);
    if (!line.is_msi) return ioapic::set_destination(line.gsi, apic_id);
    const bool was_masked = line.throttled;
    write_message(line.msi, {apic_id, line.vector});
    set_message_masked(line.msi, was_masked);
}

}  // namespace hv::irq

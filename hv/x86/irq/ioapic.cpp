#include "hv/x86/irq/ioapic.hpp"

#include "arch/memory.hpp"
#include "base/lock.hpp"
#include "hv/console/log.hpp"
#include "hv/lock_rank.hpp"
#include "hv/x86/acpi/acpi.hpp"

namespace hv::irq::ioapic {
namespace {

constexpr uint8_t kRegVersion = 0x01;
constexpr uint8_t kRegRedirection = 0x10;  // two registers a pin, low half first

constexpr uint32_t kActiveLow = 1 << 13;
constexpr uint32_t kLevel = 1 << 15;
constexpr uint32_t kMasked = 1 << 16;

/// One controller: a window of two registers, index and data.
struct Controller {
    uint64_t physical_base = 0;
    volatile uint32_t* window = nullptr;
    uint32_t gsi_base = 0;
    uint32_t pins = 0;

    uint32_t read(uint8_t reg) const {
        window[0] = reg;
        return window[4];
    }
    void write(uint8_t reg, uint32_t value) const {
        window[0] = reg;
        window[4] = value;
    }
    bool has(uint32_t gsi) const { return gsi >= gsi_base && gsi - gsi_base < pins; }
    uint8_t low_register(uint32_t gsi) const {
        return static_cast<uint8_t>(kRegRedirection + 2 * (gsi - gsi_base));
    }
};

// Written by init() only; the lock is for the index and data registers.
Controller g_controllers[acpi::kMaxIoApics];
size_t g_count;
SpinLock g_lock{static_cast<uint8_t>(Rank::kIoApic)};

const Controller* controller_of(uint32_t gsi) {
    for (size_t i = 0; i < g_count; ++i)
        if (g_controllers[i].has(gsi)) return &g_controllers[i];
    return nullptr;
}

const Controller& must_have(uint32_t gsi) {
    const Controller* c = controller_of(gsi);
    invariant(c != nullptr, "an interrupt line has a pin");
    return *c;
}

const Controller* controller_at(uint64_t physical_base) {
    for (size_t i = 0; i < g_count; ++i)
        if (g_controllers[i].physical_base == physical_base) return &g_controllers[i];
    return nullptr;
}

void mask_all(const Controller& c) {
    LockGuard guard(g_lock);
    for (uint32_t pin = 0; pin < c.pins; ++pin) c.write(c.low_register(c.gsi_base + pin), kMasked);
}

}  // namespace

void init() {
    for (const acpi::IoApicEntry& entry : acpi::info().ioapics) {
        Controller& c = g_controllers[g_count];
        c.physical_base = entry.address;
        c.gsi_base = entry.gsi_base;
        c.window = static_cast<volatile uint32_t*>(arch::map_device(entry.address, kPageSize));
        if (!c.window) panic("no address space to map I/O APIC {}", entry.id);
        const uint32_t version = c.read(kRegVersion);
        if (version == 0xffffffff) {
            log(LogLevel::kWarning, "I/O APIC {} at {:x} does not answer", entry.id, entry.address);
            continue;
        }
        c.pins = ((version >> 16) & 0xff) + 1;
        ++g_count;
        mask_all(c);
        log(LogLevel::kInfo, "I/O APIC {} at {:x}: GSI {}-{}", entry.id, entry.address, c.gsi_base,
            c.gsi_base + c.pins - 1);
    }
}

uint32_t gsi_count() {
    uint32_t count = 0;
    for (size_t i = 0; i < g_count; ++i)
        if (g_controllers[i].gsi_base + g_controllers[i].pins > count)
            count = g_controllers[i].gsi_base + g_controllers[i].pins;
    return count;
}

bool has_pin(uint32_t gsi) {
    return controller_of(gsi) != nullptr;
}

void set_route(uint32_t gsi, const Route& route) {
    const Controller& c = must_have(gsi);
    const uint32_t low =
        route.vector | (route.active_low ? kActiveLow : 0) | (route.level ? kLevel : 0) | kMasked;
    LockGuard guard(g_lock);
    const uint8_t reg = c.low_register(gsi);
    c.write(reg, low);  // masked before the other half changes
    c.write(static_cast<uint8_t>(reg + 1), uint32_t{route.apic_id} << 24);
}

void set_destination(uint32_t gsi, uint8_t apic_id) {
    const Controller& c = must_have(gsi);
    LockGuard guard(g_lock);
    c.write(static_cast<uint8_t>(c.low_register(gsi) + 1), uint32_t{apic_id} << 24);
}

void set_masked(uint32_t gsi, bool masked) {
    const Controller& c = must_have(gsi);
    LockGuard guard(g_lock);
    const uint8_t reg = c.low_register(gsi);
    const uint32_t low = c.read(reg);
    c.write(reg, masked ? low | kMasked : low & ~kMasked);
    // Reading back pushes the mask to the device before the caller's EOI frees the line.
    if (masked) (void)c.read(reg);
}

Result<uint32_t> read_register(uint64_t physical_base, uint8_t reg) {
    const Controller* c = controller_at(physical_base);
    if (!c) return Errno::kEINVAL;
    LockGuard guard(g_lock);
    return c->read(reg);
}

Result<uint32_t> gsi_of_register(uint64_t physical_base, uint32_t reg) {
    const Controller* c = controller_at(physical_base);
    if (!c || reg < kRegRedirection) return Errno::kEINVAL;
    const uint32_t pin = (reg - kRegRedirection) / 2;
    if (pin >= c->pins) return Errno::kEINVAL;
    return c->gsi_base + pin;
}

void shut_down() {
    for (size_t i = 0; i < g_count; ++i) mask_all(g_controllers[i]);
}

}  // namespace hv::irq::ioapic

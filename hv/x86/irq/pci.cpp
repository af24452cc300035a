#include "hv/x86/irq/pci.hpp"

#include <array>

#include "arch/memory.hpp"
#include "base/lock.hpp"
#include "hv/lock_rank.hpp"
#include "hv/x86/acpi/acpi.hpp"
#include "hv/x86/cpu/port_io.hpp"

namespace hv::irq {
namespace {

constexpr size_t kBusBytes = kMiB;  // 256 functions of 4 KiB
constexpr size_t kMaxMappedBuses = 64;

struct MappedBus {
    uint64_t address = 0;
    volatile uint8_t* registers = nullptr;
};

/// Buses whose memory-mapped space has been needed so far; never unmapped.
struct ConfigAccess {
    std::array<MappedBus, kMaxMappedBuses> buses{};
    size_t count = 0;
};

// Address and data port are two cycles that belong together: one lock for all.
Locked<ConfigAccess, Rank::kPci> g_access;

bool reachable_by_ports(Bdf bdf, uint32_t reg) {
    return bdf.raw() <= 0xffff && reg < 256;
}

void select(Bdf bdf, uint32_t reg) {
    arch::out32(kPortConfigAddress, 0x80000000u | bdf.raw() << 8 | (reg & 0xfc));
}

volatile uint8_t* mapped_function(ConfigAccess& access, Bdf bdf) {
    const uint8_t bus = static_cast<uint8_t>(bdf.raw() >> 8);
    const uint64_t address = acpi::mcfg_address(static_cast<uint16_t>(bdf.raw() >> 16), bus);
    if (!address) return nullptr;
    const size_t offset = size_t{bdf.raw() & 0xff} << 12;
    for (size_t i = 0; i < access.count; ++i)
        if (access.buses[i].address == address) return access.buses[i].registers + offset;
    if (access.count == kMaxMappedBuses) return nullptr;
    auto* registers = static_cast<volatile uint8_t*>(arch::map_device(address, kBusBytes));
    if (!registers) return nullptr;
    access.buses[access.count++] = {address, registers};
    return registers + offset;
}

constexpr uint32_t all_ones(unsigned size) {
    return size == 1 ? 0xff : size == 2 ? 0xffff : 0xffffffff;
}

bool valid(uint32_t reg, unsigned size) {
    return (size == 1 || size == 2 || size == 4) && reg < 4096 && reg % size == 0;
}

}  // namespace

uint32_t pci_config_read(Bdf bdf, uint32_t reg, unsigned size) {
    if (!valid(reg, size)) return all_ones(size);
    auto access = g_access.lock();
    if (reachable_by_ports(bdf, reg)) {
        select(bdf, reg);
        const uint16_t port = static_cast<uint16_t>(kPortConfigData + (reg & 3));
        return size == 1 ? arch::in8(port) : size == 2 ? arch::in16(port) : arch::in32(port);
    }
    volatile uint8_t* function = mapped_function(*access, bdf);
    if (!function) return all_ones(size);
    volatile uint8_t* at = function + reg;
    if (size == 1) return *at;
    if (size == 2) return *reinterpret_cast<volatile uint16_t*>(at);
    return *reinterpret_cast<volatile uint32_t*>(at);
}

void pci_config_write(Bdf bdf, uint32_t reg, unsigned size, uint32_t value) {
    if (!valid(reg, size)) return;
    auto access = g_access.lock();
    if (reachable_by_ports(bdf, reg)) {
        select(bdf, reg);
        const uint16_t port = static_cast<uint16_t>(kPortConfigData + (reg & 3));
        if (size == 1)
            arch::out8(port, static_cast<uint8_t>(value));
        else if (size == 2)
            arch::out16(port, static_cast<uint16_t>(value));
        else
            arch::out32(port, value);
        return;
    }
    volatile uint8_t* function = mapped_function(*access, bdf);
    if (!function) return;
    volatile uint8_t* at = function + reg;
    if (size == 1)
        *at = static_cast<uint8_t>(value);
    else if (size == 2)
        *reinterpret_cast<volatile uint16_t*>(at) = static_cast<uint16_t>(value);
    else
        *reinterpret_cast<volatile uint32_t*>(at) = value;
}

uint8_t pci_find_capability(Bdf bdf, uint8_t id) {
    constexpr uint32_t kStatus = 0x06, kCapabilities = 0x34;
    constexpr uint32_t kHasCapabilities = 1 << 4;
    if (!(pci_config_read(bdf, kStatus, 2) & kHasCapabilities)) return 0;
    uint32_t at = pci_config_read(bdf, kCapabilities, 1) & 0xfc;
    // 48 capabilities of four bytes fill the space: a longer chain is a loop.
    for (int steps = 0; at >= 0x40 && steps < 48; ++steps) {
        const uint32_t head = pci_config_read(bdf, at, 2);
        if ((head & 0xff) == 0xff) return 0;
        if ((head & 0xff) == id) return static_cast<uint8_t>(at);
        at = (head >> 8) & 0xfc;
    }
    return 0;
}

bool pci_exists(Bdf bdf) {
    // Not the vendor: virtual functions have none of their own (SR-IOV 1.1, 3.4.1.1).
    constexpr uint32_t kClassAndRevision = 0x08;
    return pci_config_read(bdf, kClassAndRevision, 4) != 0xffffffff;
}

}  // namespace hv::irq

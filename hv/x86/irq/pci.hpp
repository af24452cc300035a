// PCI configuration space: the ports CF8/CFC for the first 256 bytes of segment 0, else the
// memory-mapped space that the MCFG table tells.
#pragma once

#include <cstdint>

#include "base/result.hpp"
#include "base/strong.hpp"
#include "hv/limits.hpp"

namespace hv::irq {

/// A PCI function: segment in bits 31-16, bus in 15-8, device in 7-3, function in 2-0.
using Bdf = Strong<struct BdfTag, uint32_t>;
constexpr Bdf make_bdf(uint32_t segment, uint32_t bus, uint32_t devfn) {
    return Bdf{(segment & 0xffff) << 16 | (bus & 0xff) << 8 | (devfn & 0xff)};
}

inline constexpr uint16_t kPortConfigAddress = 0xcf8;
inline constexpr uint16_t kPortConfigData = 0xcfc;  ///< to 0xcff

/// Reads `size` (1, 2 or 4) bytes at `reg` (0-4095, aligned to `size`), as one cycle. What cannot
/// be reached reads as all ones, as on the bus.
uint32_t pci_config_read(Bdf bdf, uint32_t reg, unsigned size);
/// The same for writing; what cannot be reached is dropped.
void pci_config_write(Bdf bdf, uint32_t reg, unsigned size, uint32_t value);

/// The offset of a capability in the first 256 bytes; 0: the function has none of that kind.
uint8_t pci_find_capability(Bdf bdf, uint8_t id);
inline constexpr uint8_t kCapabilityMsi = 0x05;
inline constexpr uint8_t kCapabilityMsix = 0x11;

/// Whether a function answers at that address.
bool pci_exists(Bdf bdf);

}  // namespace hv::irq

// The firmware's memory map, as it will be when the boot services are gone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "efi/firmware.hpp"

namespace efi {

/// As GetMemoryMap() gives it.
struct MemoryMap {
    std::span<const uint8_t> bytes;
    uint64_t step = 0;  ///< from one descriptor to the next
    uint32_t version = 0;

    size_t size() const { return step < sizeof(MemoryDescriptor) ? 0 : bytes.size() / step; }
    MemoryDescriptor operator[](size_t index) const;
};

/// An e820 entry.
struct Region {
    uint64_t start, bytes;
    uint32_t type;
};
enum E820 : uint32_t { kRam = 1, kReserved, kAcpiData, kAcpiNvs, kUnusable, kPersistent = 7 };

/// The map in e820's terms into `to`, sorted, with neighbours of one type made one. Gives how many
/// there are; none if `to` has less room than the map has descriptors.
size_t make_e820(const MemoryMap& map, std::span<Region> to);

/// Whether all of [start, end) is RAM that is free once the boot services are gone.
bool is_free_later(std::span<const Region> sorted, uint64_t start, uint64_t end);

}  // namespace efi

// The machine's physical memory as the loader told it (e820).
#pragma once

#include <cstdint>
#include <span>

#include "hv/limits.hpp"

namespace hv::boot {

/// An e820 entry; the types are the BIOS's (1 RAM, 2 reserved, 3 ACPI data, 4 ACPI NVS).
struct MemoryRegion {
    uint64_t start;
    uint64_t bytes;
    uint32_t type;
};
inline constexpr uint32_t kRam = 1;
inline constexpr size_t kMaxRegions = 128;

/// Sorted by start.
std::span<const MemoryRegion> memory_map();

/// Whether the frame is RAM that the allocator or the hypervisor may hold. The first MiB, which
/// firmware shares with us, is not. Never changes after boot.
bool is_ram(Mfn mfn);

}  // namespace hv::boot

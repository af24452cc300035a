#include "hv/x86/boot/memory_map.hpp"

#include <algorithm>

#include "hv/x86/boot/boot_info.hpp"

namespace hv::boot {
namespace {

MemoryRegion regions[kMaxRegions];
size_t region_count;

// RAM as whole frames above the first MiB, for the question that every device mapping asks.
struct FrameRange {
    uint64_t first, end;
};
FrameRange ram[kMaxRegions];
size_t ram_count;

}  // namespace

std::span<const MemoryRegion> memory_map() {
    return {regions, region_count};
}

void add_region(MemoryRegion region) {
    if (region_count < kMaxRegions && region.bytes) regions[region_count++] = region;
}

void finish_memory_map() {
    std::sort(regions, regions + region_count,
              [](const MemoryRegion& a, const MemoryRegion& b) { return a.start < b.start; });
    ram_count = 0;
    for (const MemoryRegion& r : memory_map()) {
        if (r.type != kRam) continue;
        const uint64_t first = std::max(round_up(r.start, kPageSize), kMiB) >> kPageShift;
        const uint64_t end = (r.start + r.bytes) >> kPageShift;
        if (end > first) ram[ram_count++] = {first, end};
    }
}

bool is_ram(Mfn mfn) {
    for (size_t i = 0; i < ram_count; ++i)
        if (mfn.raw() >= ram[i].first && mfn.raw() < ram[i].end) return true;
    return false;
}

}  // namespace hv::boot

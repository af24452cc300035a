#include "efi/memory_map.hpp"

#include <algorithm>

namespace efi {
namespace {

constexpr uint64_t kPage = 4096;

uint32_t e820_type(const MemoryDescriptor& d) {
    switch (MemoryType{d.type}) {
        case MemoryType::kLoaderCode:
        case MemoryType::kLoaderData:
        case MemoryType::kBootServicesCode:
        case MemoryType::kBootServicesData:
        case MemoryType::kConventional:
            // What cannot be cached is some device's.
            return d.attributes & hv::efi::kWriteBack ? kRam : kReserved;
        case MemoryType::kAcpiReclaim:
            return kAcpiData;
        case MemoryType::kAcpiNvs:
            return kAcpiNvs;
        case MemoryType::kUnusable:
            return kUnusable;
        case MemoryType::kPersistent:
            return kPersistent;
        default:
            return kReserved;
    }
}

}  // namespace

MemoryDescriptor MemoryMap::operator[](size_t index) const {
    MemoryDescriptor d;
    __builtin_memcpy(&d, bytes.data() + index * step, sizeof d);
    return d;
}

size_t make_e820(const MemoryMap& map, std::span<Region> to) {
    if (to.size() < map.size()) return 0;
    size_t count = 0;
    for (size_t i = 0; i < map.size(); ++i) {
        const MemoryDescriptor d = map[i];
        if (d.pages && d.pages <= ~d.physical_start / kPage)
            to[count++] = {d.physical_start, d.pages * kPage, e820_type(d)};
    }
    std::sort(to.begin(), to.begin() + static_cast<std::ptrdiff_t>(count),
              [](const Region& a, const Region& b) { return a.start < b.start; });
    size_t kept = 0;
    for (size_t i = 0; i < count; ++i) {
        Region* last = kept ? &to[kept - 1] : nullptr;
        if (last && last->type == to[i].type && last->start + last->bytes == to[i].start)
            last->bytes += to[i].bytes;
        else
            to[kept++] = to[i];
    }
    return kept;
}

bool is_free_later(std::span<const Region> sorted, uint64_t start, uint64_t end) {
    return std::any_of(sorted.begin(), sorted.end(), [&](const Region& r) {
        return r.type == kRam && r.start <= start && end <= r.start + r.bytes;
    });
}

}  // namespace efi

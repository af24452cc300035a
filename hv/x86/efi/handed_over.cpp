// What the loader handed over of the firmware, kept until efi.cpp looks at it, and the map after.
#include "hv/x86/efi/efi.hpp"

#include <algorithm>

#include "hv/x86/efi/handed_over.hpp"

namespace hv::efi {
namespace {

// Firmware of real machines has some hundred descriptors.
constexpr size_t kMaxDescriptors = 768;
MemoryDescriptor descriptors[kMaxDescriptors];
size_t descriptor_count;

HandedOver facts;

}  // namespace

HandedOver& handed_over() {
    return facts;
}

void note_system_table(uint64_t system_table) {
    facts.table_address = system_table;
}

void note_memory_map(std::span<const uint8_t> map, uint32_t step) {
    if (step < sizeof(MemoryDescriptor)) return;
    for (; map.size() >= sizeof(MemoryDescriptor);
         map = map.subspan(std::min<size_t>(step, map.size()))) {
        if (descriptor_count == kMaxDescriptors) {
            ++facts.descriptors_lost;
            continue;
        }
        __builtin_memcpy(&descriptors[descriptor_count++], map.data(), sizeof(MemoryDescriptor));
    }
}

std::span<const MemoryDescriptor> memory_descriptors() {
    return {descriptors, descriptor_count};
}

const MemoryDescriptor* find_memory(uint64_t machine_address) {
    for (const MemoryDescriptor& d : memory_descriptors())
        if (machine_address >= d.physical_start &&
            (machine_address - d.physical_start) / kPageSize < d.pages)
            return &d;
    return nullptr;
}

const SystemTable* system_table() {
    return facts.table_is_good ? &facts.table : nullptr;
}

}  // namespace hv::efi

// What the boot loader handed over, taken out of its structures (multiboot 1 and 2) into ours
// before their memory is used for something else.
#pragma once

#include <span>

#include "hv/x86/boot/memory_map.hpp"
#include "hv/x86/boot/module.hpp"

namespace hv::boot {

inline constexpr size_t kMaxModules = 16;

struct BootInfo {
    char command_line[1024] = {};
    char loader[64] = {};
    BootModule modules[kMaxModules];
    char module_lines[kMaxModules][1024] = {};
    size_t module_count = 0;
    uint8_t rsdp_copy[36] = {};     ///< ACPI's root pointer as the loader tells it
    size_t rsdp_bytes = 0;          ///< of that; 0: it does not
    const char* trouble = nullptr;  ///< what is wrong with what the loader gave
};

/// Reads the information at `address` by the loader's `magic`; also fills memory_map().
void read_boot_info(uint32_t magic, uint64_t address, BootInfo& into);

/// Adds a region, in any order; memory_map() is sorted and without overlaps after finish.
void add_region(MemoryRegion region);
void finish_memory_map();

}  // namespace hv::boot

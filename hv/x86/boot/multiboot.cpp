// Multiboot 1 (specification 0.6.96) and multiboot 2 (2.0) information.
#include <algorithm>

#include "arch/memory.hpp"
#include "hv/x86/boot/boot_info.hpp"
#include "hv/x86/boot/screen.hpp"
#include "hv/x86/efi/efi.hpp"

namespace hv::boot {
namespace {

constexpr uint32_t kMagic1 = 0x2BADB002, kMagic2 = 0x36d76289;

struct [[gnu::packed]] Info1 {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4],
        mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name;
};
constexpr uint32_t kHasCommandLine = 1 << 2, kHasModules = 1 << 3, kHasMap = 1 << 6,
                   kHasLoaderName = 1 << 9;
struct [[gnu::packed]] Module1 {
    uint32_t start, end, string, reserved;
};
struct [[gnu::packed]] Map1 {
    uint32_t size;
    uint64_t start, bytes;
    uint32_t type;
};

struct [[gnu::packed]] Tag {
    uint32_t type, size;
};
constexpr uint32_t kTagEnd = 0, kTagCommandLine = 1, kTagLoaderName = 2, kTagModule = 3,
                   kTagMap = 6, kTagScreen = 8, kTagEfi64 = 12, kTagOldRsdp = 14, kTagNewRsdp = 15,
                   kTagEfiMap = 17;

template <class T>
const T* at(uint64_t machine_address) {
    return arch::machine_to_virt<const T>(machine_address);
}

void copy_text(char* to, size_t size, const char* from) {
    size_t n = 0;
    while (n + 1 < size && from[n]) to[n] = from[n], ++n;
    to[n] = 0;
}

void add_module(BootInfo& into, uint64_t start, uint64_t end, const char* line) {
    if (into.module_count == kMaxModules) {
        into.trouble = "more than 16 modules; only the first 16 are seen";
        return;
    }
    const size_t n = into.module_count++;
    copy_text(into.module_lines[n], sizeof into.module_lines[n], line);
    into.modules[n] = {.machine_address = start,
                       .size = end > start ? end - start : 0,
                       .command_line = strip_file_name(into.module_lines[n], into.loader)};
}

void read_info1(const Info1& info, BootInfo& into) {
    if (info.flags & kHasCommandLine)
        copy_text(into.command_line, sizeof into.command_line, at<char>(info.cmdline));
    if (info.flags & kHasLoaderName)
        copy_text(into.loader, sizeof into.loader, at<char>(info.boot_loader_name));
    if (info.flags & kHasModules) {
        const auto* m = at<Module1>(info.mods_addr);
        // One more than there is room for, so that it is told that there are more.
        for (uint32_t i = 0; i < std::min<size_t>(info.mods_count, kMaxModules + 1); ++i)
            add_module(into, m[i].start, m[i].end, m[i].string ? at<char>(m[i].string) : "");
    }
    if (info.flags & kHasMap) {
        for (uint64_t offset = 0; offset < info.mmap_length;) {
            const auto* entry = at<Map1>(info.mmap_addr + offset);
            if (entry->size < sizeof(Map1) - sizeof entry->size) {
                into.trouble = "the boot loader's memory map has an entry that is too short";
                break;
            }
            add_region({entry->start, entry->bytes, entry->type});
            offset += entry->size + sizeof entry->size;
        }
    } else {
        into.trouble = "the boot loader gave no memory map; use one that does (GRUB, QEMU -kernel)";
    }
}

void read_map2(const Tag& tag) {
    const auto* base = reinterpret_cast<const uint8_t*>(&tag);
    const uint32_t entry_size = *reinterpret_cast<const uint32_t*>(base + 8);
    if (entry_size < 24) return;
    for (uint64_t offset = 16; offset + entry_size <= tag.size; offset += entry_size) {
        MemoryRegion r;
        __builtin_memcpy(&r.start, base + offset, 8);
        __builtin_memcpy(&r.bytes, base + offset + 8, 8);
        __builtin_memcpy(&r.type, base + offset + 16, 4);
        add_region(r);
    }
}

void read_efi_map(const Tag& tag) {
    const auto* base = reinterpret_cast<const uint8_t*>(&tag);
    constexpr size_t kHeader = 16;
    if (tag.size < kHeader) return;
    efi::note_memory_map({base + kHeader, tag.size - kHeader},
                         *reinterpret_cast<const uint32_t*>(base + 8));
}

void read_tag2(const Tag& tag, BootInfo& into) {
    const auto* payload = reinterpret_cast<const char*>(&tag) + sizeof tag;
    switch (tag.type) {
        case kTagCommandLine:
            return copy_text(into.command_line, sizeof into.command_line, payload);
        case kTagLoaderName:
            return copy_text(into.loader, sizeof into.loader, payload);
        case kTagModule: {
            uint32_t range[2];
            __builtin_memcpy(range, payload, sizeof range);
            return add_module(into, range[0], range[1], payload + sizeof range);
        }
        case kTagMap:
            return read_map2(tag);
        case kTagScreen:
            return note_screen({reinterpret_cast<const uint8_t*>(payload), tag.size - sizeof tag});
        case kTagEfi64: {
            uint64_t system_table;
            __builtin_memcpy(&system_table, payload, sizeof system_table);
            return efi::note_system_table(system_table);
        }
        case kTagEfiMap:
            return read_efi_map(tag);
        case kTagOldRsdp:
            if (into.rsdp_bytes) return;  // the newer one is better
            [[fallthrough]];
        case kTagNewRsdp:
            into.rsdp_bytes = std::min<size_t>(tag.size - sizeof tag, sizeof into.rsdp_copy);
            __builtin_memcpy(into.rsdp_copy, payload, into.rsdp_bytes);
            return;
        default:
            return;
    }
}

void read_info2(uint64_t address, BootInfo& into) {
    const uint32_t total = *at<uint32_t>(address);
    for (uint64_t offset = 8; offset + sizeof(Tag) <= total;) {
        const Tag& tag = *at<Tag>(address + offset);
        if (tag.type == kTagEnd || tag.size < sizeof(Tag)) break;
        read_tag2(tag, into);
        offset += round_up(tag.size, 8);
    }
    if (memory_map().empty()) into.trouble = "the boot loader gave no memory map";
}

}  // namespace

void read_boot_info(uint32_t magic, uint64_t address, BootInfo& into) {
    if (magic == kMagic1)
        read_info1(*at<Info1>(address), into);
    else if (magic == kMagic2)
        read_info2(address, into);
    else
        into.trouble = "not started by a multiboot loader";
    finish_memory_map();
}

}  // namespace hv::boot

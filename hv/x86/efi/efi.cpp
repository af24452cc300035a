#include "hv/x86/efi/efi.hpp"

#include <algorithm>

#include "arch/memory.hpp"
#include "hv/console/log.hpp"
#include "hv/x86/efi/runtime.hpp"

namespace hv::efi {
namespace {

uint64_t table_address;
SystemTable table;
bool present;
uint32_t revision;

constexpr size_t kMaxVendor = 100;
char16_t vendor_name[kMaxVendor];
size_t vendor_length;

// Firmware of real machines has some hundred descriptors.
constexpr size_t kMaxDescriptors = 768;
MemoryDescriptor descriptors[kMaxDescriptors];
size_t descriptor_count;
size_t descriptors_lost;

/// Copies `bytes` of the firmware's memory. kENOMEM.
Result<> read_firmware(uint64_t machine_address, void* to, size_t bytes) {
    const void* from = arch::map_device(machine_address, bytes, arch::Caching::kCached);
    if (!from) return Errno::kENOMEM;
    __builtin_memcpy(to, from, bytes);
    return {};
}

/// Whether all of that is in memory which the firmware keeps for run time. Its tables are read
/// there only: other memory may have been used for something else since.
bool is_kept(uint64_t machine_address, uint64_t bytes) {
    const MemoryDescriptor* d = find_memory(machine_address);
    if (!d || bytes > d->physical_start + d->pages * kPageSize - machine_address) return false;
    constexpr uint32_t kAcpiReclaim = 9, kAcpiNvs = 10;
    return d->attributes & kRuntimeAttribute || d->type == kAcpiReclaim || d->type == kAcpiNvs;
}

Result<> read_vendor() {
    if (!is_kept(table.firmware_vendor, sizeof vendor_name)) return {};
    TRY(read_firmware(table.firmware_vendor, vendor_name, sizeof vendor_name));
    vendor_length =
        static_cast<size_t>(std::find(vendor_name, vendor_name + kMaxVendor, u'\0') - vendor_name);
    return {};
}

Result<> read_system_table() {
    TRY(read_firmware(table_address, &table, sizeof table));
    if (table.header.signature != kSystemTableSignature) return Errno::kEINVAL;
    present = true;
    return read_vendor();
}

}  // namespace

void note_system_table(uint64_t system_table) {
    table_address = system_table;
}

void note_memory_map(std::span<const uint8_t> map, uint32_t step) {
    if (step < sizeof(MemoryDescriptor)) return;
    for (; map.size() >= sizeof(MemoryDescriptor);
         map = map.subspan(std::min<size_t>(step, map.size()))) {
        if (descriptor_count == kMaxDescriptors) {
            ++descriptors_lost;
            continue;
        }
        __builtin_memcpy(&descriptors[descriptor_count++], map.data(), sizeof(MemoryDescriptor));
    }
}

void init(bool runtime) {
    if (!table_address) return;
    if (descriptors_lost)
        log(LogLevel::kWarning, "EFI: the memory map is cut: {} descriptors are not seen",
            descriptors_lost);
    if (!is_kept(table_address, sizeof table) || !read_system_table().ok()) {
        log(LogLevel::kError,
            "EFI: no system table at {:x}, where the boot loader says it is; "
            "going on as if started by a BIOS",
            table_address);
        present = false;
        return;
    }
    log(LogLevel::kInfo, "EFI {}.{}, system table at {:x}, {} configuration tables",
        table.header.revision >> 16, (table.header.revision & 0xffff) / 10, table_address,
        table.table_count);
    if (!runtime) return;
    if (!is_kept(table.runtime_services, sizeof(RuntimeServices))) {
        log(LogLevel::kWarning,
            "EFI: the run-time services' table at {:x} is in no memory kept for it; "
            "they are not used",
            table.runtime_services);
        return;
    }
    auto opened = open_runtime(table.runtime_services, {descriptors, descriptor_count});
    if (opened.ok())
        revision = *opened;
    else
        log(LogLevel::kWarning, "EFI: run-time services are not used (error {})", opened.error());
}

const SystemTable* system_table() {
    return present ? &table : nullptr;
}
uint32_t runtime_revision() {
    return revision;
}
std::span<const char16_t> vendor() {
    return {vendor_name, vendor_length};
}

const MemoryDescriptor* find_memory(uint64_t machine_address) {
    for (const MemoryDescriptor& d : std::span(descriptors, descriptor_count))
        if (machine_address >= d.physical_start &&
            (machine_address - d.physical_start) / kPageSize < d.pages)
            return &d;
    return nullptr;
}

}  // namespace hv::efi

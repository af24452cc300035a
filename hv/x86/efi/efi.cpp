#include "hv/x86/efi/efi.hpp"

#include <algorithm>

#include "arch/memory.hpp"
#include "hv/console/log.hpp"
#include "hv/x86/efi/handed_over.hpp"
#include "hv/x86/efi/runtime.hpp"

namespace hv::efi {
namespace {

HandedOver& told = handed_over();
const SystemTable& table = told.table;
uint32_t revision;

constexpr size_t kMaxVendor = 100;
char16_t vendor_name[kMaxVendor];
size_t vendor_length;

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
    TRY(read_firmware(told.table_address, &told.table, sizeof table));
    if (table.header.signature != kSystemTableSignature) return Errno::kEINVAL;
    TRY(read_vendor());
    told.table_is_good = true;
    return {};
}

}  // namespace

void init(bool runtime) {
    const uint64_t table_address = told.table_address;
    if (!table_address) return;
    if (told.descriptors_lost)
        log(LogLevel::kWarning, "EFI: the memory map is cut: {} descriptors are not seen",
            told.descriptors_lost);
    if (!is_kept(table_address, sizeof table) || !read_system_table().ok()) {
        log(LogLevel::kError,
            "EFI: no system table at {:x}, where the boot loader says it is; "
            "going on as if started by a BIOS",
            table_address);
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
    auto opened = open_runtime(table.runtime_services, memory_descriptors());
    if (opened.ok())
        revision = *opened;
    else
        log(LogLevel::kWarning, "EFI: run-time services are not used (error {})", opened.error());
}

uint32_t runtime_revision() {
    return revision;
}
std::span<const char16_t> vendor() {
    return {vendor_name, vendor_length};
}

}  // namespace hv::efi

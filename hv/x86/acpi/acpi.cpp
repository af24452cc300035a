#include "hv/x86/acpi/acpi.hpp"

#include <cstring>

#include "arch/memory.hpp"
#include "hv/console/log.hpp"
#include "hv/x86/cpu/port_io.hpp"

namespace hv::acpi {
namespace {

Info g_info;

constexpr uint64_t kBiosArea = 0xe0000, kBiosAreaEnd = 0x100000;
constexpr uint64_t kBiosDataArea = 0x400;
constexpr size_t kEbdaSegmentOffset = 0x0e;  // in the BIOS data area

/// Firmware's bytes at a machine address; empty if they cannot be mapped.
Bytes map_bytes(uint64_t address, size_t bytes) {
    void* at = arch::map_device(address, bytes, arch::Caching::kCached);
    return at ? Bytes(static_cast<const uint8_t*>(at), bytes) : Bytes();
}

/// The places of ACPI 5.2.5.1: the first KiB of the extended BIOS data area, then the BIOS itself.
Result<RootPointer> find_root_pointer() {
    const Bytes data_area = map_bytes(kBiosDataArea, 256);
    if (!data_area.empty()) {
        uint16_t segment;
        memcpy(&segment, data_area.data() + kEbdaSegmentOffset, sizeof segment);
        const uint64_t ebda = uint64_t{segment} << 4;
        if (ebda >= 0x80000 && ebda < 0xa0000) {
            Result<RootPointer> found = scan_for_root_pointer(map_bytes(ebda, 1024));
            if (found) return found;
        }
    }
    return scan_for_root_pointer(map_bytes(kBiosArea, kBiosAreaEnd - kBiosArea));
}

/// A whole table, its length and checksum verified; kEINVAL if it is not to be trusted.
Result<Bytes> map_table(uint64_t address) {
    Bytes bytes = map_bytes(address, kHeaderBytes);
    if (bytes.empty()) return Errno::kENOMEM;
    const Header header = TRY(parse_header(bytes));
    bytes = map_bytes(address, header.length);
    if (bytes.empty()) return Errno::kENOMEM;
    if (!checksum_ok(bytes)) {
        log(LogLevel::kWarning, "ACPI: table {} at {:x} has a wrong checksum and is not used",
            header.signature, address);
        return Errno::kEINVAL;
    }
    return bytes;
}

void read_tables(const RootPointer& root) {
    Result<Bytes> list = map_table(root.table);
    if (!list) panic("ACPI: the root table at {:x} is damaged", root.table);
    for (size_t i = 0;; ++i) {
        Result<uint64_t> address = root_table_entry(*list, root.extended, i);
        if (!address) return;
        if (!*address) continue;
        Result<Bytes> table = map_table(*address);
        if (!table) continue;
        if (!parse_table(*table, g_info))
            log(LogLevel::kWarning, "ACPI: table {} at {:x} is cut short",
                parse_header(*table)->signature, *address);
    }
}

/// The DSDT is not in the list of tables: the FADT points to it.
void read_dsdt() {
    if (!g_info.dsdt_address) return;
    if (Result<Bytes> dsdt = map_table(g_info.dsdt_address)) find_soft_off(*dsdt, g_info);
}

void require_essentials() {
    if (g_info.cpus.empty())
        panic("ACPI: no usable MADT table: the machine's CPUs and interrupts cannot be found");
    if (g_info.ioapics.empty())
        panic("ACPI: the machine has no I/O APIC; Xenolith needs one for device interrupts");
    if (g_info.cpus.dropped())
        log(LogLevel::kWarning, "ACPI: {} more CPUs than can be listed", g_info.cpus.dropped());
    if (!g_info.has_fadt)
        log(LogLevel::kWarning, "ACPI: no FADT table: power-off and the PM timer are missing");
}

}  // namespace

void init(Bytes root_pointer) {
    const Result<RootPointer> root =
        root_pointer.empty() ? find_root_pointer() : parse_root_pointer(root_pointer);
    if (!root && !root_pointer.empty())
        panic("ACPI: the loader's copy of the root pointer is damaged");
    if (!root) panic("ACPI: the firmware offers no tables; Xenolith needs ACPI");
    read_tables(*root);
    read_dsdt();
    require_essentials();
    log(LogLevel::kInfo, "ACPI: {} CPUs, {} I/O APICs, HPET {:x}, PM timer {:x}, SCI {}",
        g_info.cpus.size(), g_info.ioapics.size(), g_info.hpet_address, g_info.pm_timer_port,
        g_info.sci);
}

const Info& info() {
    return g_info;
}

uint64_t mcfg_address(uint16_t segment, uint8_t bus) {
    for (const McfgRange& range : g_info.mcfg)
        if (range.segment == segment && bus >= range.start_bus && bus <= range.end_bus)
            return range.address + (uint64_t{bus} << 20);
    return 0;
}

}  // namespace hv::acpi

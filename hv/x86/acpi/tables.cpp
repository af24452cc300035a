#include "hv/x86/acpi/tables.hpp"

#include <cstring>

#include "hv/x86/acpi/table_bytes.hpp"

namespace hv::acpi {
namespace {

bool has_text(Bytes bytes, size_t offset, std::string_view text) {
    return bytes.size() >= offset + text.size() &&
           memcmp(bytes.data() + offset, text.data(), text.size()) == 0;
}

/// MPS INTI flags (ACPI table 5-26): polarity in bits 0-1, trigger mode in bits 2-3.
Polarity polarity_of(uint16_t flags) {
    switch (flags & 3) {
        case 1:
            return Polarity::kHigh;
        case 3:
            return Polarity::kLow;
        default:
            return Polarity::kBusDefault;
    }
}
Trigger trigger_of(uint16_t flags) {
    switch ((flags >> 2) & 3) {
        case 1:
            return Trigger::kEdge;
        case 3:
            return Trigger::kLevel;
        default:
            return Trigger::kBusDefault;
    }
}

// MADT entry types (ACPI table 5-20) and their lengths.
enum MadtType : uint8_t {
    kLocalApic = 0,
    kIoApic = 1,
    kSourceOverride = 2,
    kLocalApicNmi = 4,
    kLocalApicAddress = 5,
    kLocalX2Apic = 9,
    kLocalX2ApicNmi = 10,
};
constexpr uint8_t kMadtLength[] = {8, 12, 10, 8, 6, 12, 16, 12, 0, 16, 12};

constexpr uint32_t kCpuEnabled = 1;

/// Firmware lists a CPU twice when it describes it as APIC and as x2APIC.
void add_cpu(Info& into, uint32_t apic_id, uint32_t acpi_id, uint32_t flags) {
    for (const Cpu& cpu : into.cpus)
        if (cpu.apic_id == apic_id && cpu.enabled) return;
    into.cpus.add({apic_id, acpi_id, (flags & kCpuEnabled) != 0});
}

void parse_madt_entry(Bytes e, Info& into) {
    switch (e[0]) {
        case kLocalApic:
            if (e[3] != 0xff) add_cpu(into, e[3], e[2], read<uint32_t>(e, 4));
            break;
        case kLocalX2Apic:
            if (read<uint32_t>(e, 4) != ~uint32_t{0})
                add_cpu(into, read<uint32_t>(e, 4), read<uint32_t>(e, 12), read<uint32_t>(e, 8));
            break;
        case kIoApic:
            into.ioapics.add({e[2], read<uint32_t>(e, 4), read<uint32_t>(e, 8)});
            break;
        case kSourceOverride: {
            const uint16_t flags = read<uint16_t>(e, 8);
            into.overrides.add({e[3], read<uint32_t>(e, 4), trigger_of(flags), polarity_of(flags)});
            break;
        }
        case kLocalApicNmi: {
            const uint16_t flags = read<uint16_t>(e, 3);
            const uint32_t cpu = e[2] == 0xff ? LocalNmi::kAllCpus : e[2];
            into.local_nmis.add({cpu, e[5], polarity_of(flags), trigger_of(flags)});
            break;
        }
        case kLocalX2ApicNmi: {
            const uint16_t flags = read<uint16_t>(e, 2);
            into.local_nmis.add(
                {read<uint32_t>(e, 4), e[8], polarity_of(flags), trigger_of(flags)});
            break;
        }
        case kLocalApicAddress:
            into.lapic_address = read<uint64_t>(e, 4);
            break;
        default:
            break;
    }
}

/// An AML integer constant at the beginning of `aml` (ACPI 20.2.3), which is cut off it.
Result<uint8_t> take_constant(Bytes& aml) {
    constexpr uint8_t kZero = 0x00, kOne = 0x01, kBytePrefix = 0x0a;
    if (aml.empty()) return Errno::kEINVAL;
    const uint8_t op = aml[0];
    if (op == kZero || op == kOne) {
        aml = aml.subspan(1);
        return op;
    }
    if (op != kBytePrefix || aml.size() < 2) return Errno::kEINVAL;
    const uint8_t value = aml[1];
    aml = aml.subspan(2);
    return value;
}

/// A package of at least two small constants (ACPI 20.2.5.4).
Result<SoftOff> parse_sleep_package(Bytes aml) {
    constexpr uint8_t kPackage = 0x12;
    if (aml.size() < 3 || aml[0] != kPackage) return Errno::kEINVAL;
    const size_t length_bytes = 1u + (aml[1] >> 6);  // PkgLength says how long itself is
    const size_t elements = 1 + length_bytes;
    if (aml.size() < elements + 1 || aml[elements] < 2) return Errno::kEINVAL;
    aml = aml.subspan(elements + 1);
    const uint8_t a = TRY(take_constant(aml));
    const uint8_t b = TRY(take_constant(aml));
    if (a > 7 || b > 7) return Errno::kEINVAL;
    return SoftOff{true, static_cast<uint16_t>(a << 10), static_cast<uint16_t>(b << 10)};
}

/// A Generic Address Structure at `offset`, all zeros if the table ends before it.
Register read_register(Bytes table, size_t offset) {
    Register r;
    if (table.size() < offset + 12) return r;
    r.space = static_cast<Register::Space>(table[offset]);
    r.bit_width = table[offset + 1];
    r.address = read<uint64_t>(table, offset + 4);
    return r;
}

/// The extended (64-bit) port of a register if the table has one, else the legacy 32-bit field.
uint32_t port_of(Bytes fadt, size_t extended_offset, size_t legacy_offset) {
    const Register r = read_register(fadt, extended_offset);
    if (r.present() && r.space == Register::Space::kPort && r.address <= 0xffff)
        return static_cast<uint32_t>(r.address);
    return read<uint32_t>(fadt, legacy_offset) & 0xffff;
}

}  // namespace

bool checksum_ok(Bytes bytes) {
    uint8_t sum = 0;
    for (uint8_t b : bytes) sum = static_cast<uint8_t>(sum + b);
    return sum == 0;
}

Result<RootPointer> parse_root_pointer(Bytes bytes) {
    constexpr size_t kOldBytes = 20;
    if (bytes.size() < kOldBytes || !has_text(bytes, 0, "RSD PTR ")) return Errno::kEINVAL;
    if (!checksum_ok(bytes.first(kOldBytes))) return Errno::kEINVAL;
    const uint8_t revision = bytes[15];
    if (revision >= 2 && bytes.size() >= 36) {
        const uint32_t length = read<uint32_t>(bytes, 20);
        const uint64_t xsdt = read<uint64_t>(bytes, 24);
        if (length >= 33 && length <= bytes.size() && xsdt && checksum_ok(bytes.first(length)))
            return RootPointer{xsdt, true};
    }
    const uint32_t rsdt = read<uint32_t>(bytes, 16);
    if (!rsdt) return Errno::kEINVAL;
    return RootPointer{rsdt, false};
}

Result<RootPointer> scan_for_root_pointer(Bytes area) {
    for (size_t at = 0; at + 20 <= area.size(); at += 16) {
        Result<RootPointer> found = parse_root_pointer(area.subspan(at));
        if (found) return found;
    }
    return Errno::kENOENT;
}

Result<Header> parse_header(Bytes bytes) {
    if (bytes.size() < kHeaderBytes) return Errno::kEINVAL;
    const uint32_t length = read<uint32_t>(bytes, 4);
    // The largest real tables (DSDT) have some hundred KiB; a broken length must not map it all.
    if (length < kHeaderBytes || length > 16 * kMiB) return Errno::kEINVAL;
    return Header{{reinterpret_cast<const char*>(bytes.data()), 4}, length};
}

Result<uint64_t> root_table_entry(Bytes table, bool extended, size_t index) {
    const size_t width = extended ? 8 : 4;
    const size_t offset = kHeaderBytes + index * width;
    if (offset + width > table.size()) return Errno::kENOENT;
    return extended ? read<uint64_t>(table, offset) : read<uint32_t>(table, offset);
}

Result<> parse_madt(Bytes table, Info& into) {
    constexpr size_t kFixedBytes = 44;
    if (table.size() < kFixedBytes) return Errno::kEINVAL;
    into.lapic_address = read<uint32_t>(table, 36);
    into.has_legacy_pics = read<uint32_t>(table, 40) & 1;
    for (Bytes rest = table.subspan(kFixedBytes); rest.size() >= 2;) {
        const uint8_t type = rest[0];
        const uint8_t length = rest[1];
        if (length < 2 || length > rest.size()) return Errno::kEINVAL;
        if (type < sizeof kMadtLength && length < kMadtLength[type]) return Errno::kEINVAL;
        parse_madt_entry(rest.first(length), into);
        rest = rest.subspan(length);
    }
    return {};
}

Result<> parse_fadt(Bytes table, Info& into) {
    // Offsets after ACPI table 5-9; 116 bytes are ACPI 1.0's, everything behind is optional.
    constexpr size_t kFirstRevisionBytes = 116;
    constexpr uint32_t kTimerIs32Bits = 1 << 8;
    constexpr uint32_t kResetSupported = 1 << 10;
    constexpr uint32_t kHardwareReduced = 1 << 20;
    if (table.size() < kFirstRevisionBytes) return Errno::kEINVAL;
    const uint32_t flags = read<uint32_t>(table, 112);
    into.has_fadt = true;
    into.sci = read<uint16_t>(table, 46);
    into.pm1a_event_port = port_of(table, 148, 56);
    into.pm1b_event_port = port_of(table, 160, 60);
    into.pm1_event_bytes = table[88];
    into.pm1a_control_port = port_of(table, 172, 64);
    into.pm1b_control_port = port_of(table, 184, 68);
    if (table[91] == 4) into.pm_timer_port = static_cast<uint16_t>(port_of(table, 208, 76));
    into.pm_timer_width = flags & kTimerIs32Bits ? 32 : 24;
    into.hardware_reduced = (flags & kHardwareReduced) != 0;
    into.dsdt_address = read<uint32_t>(table, 40);
    if (table.size() >= 148)
        if (uint64_t extended = read<uint64_t>(table, 140)) into.dsdt_address = extended;
    if ((flags & kResetSupported) && table.size() >= 129) {
        into.reset_register = read_register(table, 116);
        into.reset_value = table[128];
    }
    return {};
}

Result<> parse_hpet(Bytes table, Info& into) {
    if (table.size() < 56) return Errno::kEINVAL;
    const Register base = read_register(table, 40);
    if (base.space == Register::Space::kMemory) into.hpet_address = base.address;
    return {};
}

Result<> parse_mcfg(Bytes table, Info& into) {
    constexpr size_t kFixedBytes = 44;
    constexpr size_t kEntryBytes = 16;
    if (table.size() < kFixedBytes) return Errno::kEINVAL;
    for (size_t at = kFixedBytes; at + kEntryBytes <= table.size(); at += kEntryBytes) {
        McfgRange range{read<uint64_t>(table, at), read<uint16_t>(table, at + 8), table[at + 10],
                        table[at + 11]};
        if (range.address && range.start_bus <= range.end_bus) into.mcfg.add(range);
    }
    return {};
}

void find_soft_off(Bytes aml, Info& into) {
    constexpr std::string_view kName = "\010_S5_";  // NameOp and the name
    constexpr std::string_view kRootName = "\010\\_S5_";
    for (size_t at = kHeaderBytes; at < aml.size(); ++at) {
        const size_t skip = has_text(aml, at, kName)       ? kName.size()
                            : has_text(aml, at, kRootName) ? kRootName.size()
                                                           : 0;
        if (!skip) continue;
        if (Result<SoftOff> found = parse_sleep_package(aml.subspan(at + skip))) {
            into.soft_off = *found;
            return;
        }
    }
}

Result<> parse_table(Bytes table, Info& into) {
    const Header header = TRY(parse_header(table));
    if (header.signature == "APIC") return parse_madt(table, into);
    if (header.signature == "FACP") return parse_fadt(table, into);
    if (header.signature == "HPET") return parse_hpet(table, into);
    if (header.signature == "MCFG") return parse_mcfg(table, into);
    if (header.signature == "SRAT") return parse_srat(table, into);
    if (header.signature == "SLIT") return parse_slit(table, into);
    return {};
}

}  // namespace hv::acpi

// SRAT and SLIT: which CPUs and which memory are near to each other (ACPI 6.4, 5.2.16 and 5.2.17).
#include <cstring>

#include "hv/x86/acpi/table_bytes.hpp"
#include "hv/x86/acpi/tables.hpp"

namespace hv::acpi {
namespace {

// SRAT structure types and their lengths (5.2.16.1 to 5.2.16.3).
enum SratType : uint8_t { kLocalApic = 0, kMemory = 1, kLocalX2Apic = 2 };
constexpr uint8_t kLength[] = {16, 40, 24};
constexpr uint32_t kEnabled = 1;  // of the flags of each

/// Before revision 2 a proximity domain had eight bits, and what follows them was undefined.
uint32_t domain_of_cpu(Bytes e, bool wide) {
    const uint32_t low = e[2];
    return wide ? low | uint32_t{e[9]} << 8 | uint32_t{e[10]} << 16 | uint32_t{e[11]} << 24 : low;
}

void parse_entry(Bytes e, bool wide, Info& into) {
    switch (e[0]) {
        case kLocalApic:
            if (read<uint32_t>(e, 4) & kEnabled)
                into.cpu_affinity.add({e[3], domain_of_cpu(e, wide)});
            break;
        case kLocalX2Apic:
            if (read<uint32_t>(e, 12) & kEnabled)
                into.cpu_affinity.add({read<uint32_t>(e, 8), read<uint32_t>(e, 4)});
            break;
        case kMemory: {
            const auto domain = read<uint32_t>(e, 2);
            const auto bytes = read<uint64_t>(e, 16);
            if ((read<uint32_t>(e, 28) & kEnabled) && bytes)
                into.memory_affinity.add(
                    {read<uint64_t>(e, 8), bytes, wide ? domain : domain & 0xff});
            break;
        }
        default:
            break;
    }
}

}  // namespace

Result<> parse_srat(Bytes table, Info& into) {
    constexpr size_t kFixedBytes = 48;
    if (table.size() < kFixedBytes) return Errno::kEINVAL;
    const bool wide = table[8] >= 2;  // the header's revision
    for (Bytes rest = table.subspan(kFixedBytes); rest.size() >= 2;) {
        const uint8_t type = rest[0];
        const uint8_t length = rest[1];
        if (length < 2 || length > rest.size()) return Errno::kEINVAL;
        if (type < sizeof kLength && length < kLength[type]) return Errno::kEINVAL;
        parse_entry(rest.first(length), wide, into);
        rest = rest.subspan(length);
    }
    return {};
}

Result<> parse_slit(Bytes table, Info& into) {
    constexpr size_t kFixedBytes = 44;
    if (table.size() < kFixedBytes) return Errno::kEINVAL;
    const auto count = read<uint64_t>(table, 36);
    if (count > Distances::kMaxDomains) return {};
    if (table.size() < kFixedBytes + count * count) return Errno::kEINVAL;
    into.distances.count = count;
    for (size_t from = 0; from < count; ++from)
        memcpy(into.distances.from_to[from], table.data() + kFixedBytes + from * count, count);
    return {};
}

}  // namespace hv::acpi

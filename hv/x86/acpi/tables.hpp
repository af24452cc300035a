// ACPI's static tables, read out of bytes: no access to the machine, so host tests feed synthetic
// ones. Layouts after the ACPI specification 6.4, chapter 5.2; byte offsets in the .cpp name the
// table they come from. A table is believed only if its length and checksum are right.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.hpp"
#include "hv/limits.hpp"

namespace hv::acpi {

using Bytes = std::span<const uint8_t>;

/// A list of at most N elements; what does not fit is counted, so that it can be told.
template <class T, size_t N>
class ShortList {
  public:
    void add(const T& item) {
        if (count_ < N)
            items_[count_++] = item;
        else
            ++dropped_;
    }
    constexpr const T* begin() const { return items_.data(); }
    constexpr const T* end() const { return items_.data() + count_; }
    constexpr size_t size() const { return count_; }
    constexpr size_t dropped() const { return dropped_; }
    constexpr bool empty() const { return count_ == 0; }
    constexpr const T& operator[](size_t i) const { return items_[i]; }

  private:
    std::array<T, N> items_{};
    size_t count_ = 0;
    size_t dropped_ = 0;
};

/// Generic Address Structure (5.2.3.2): a register somewhere.
struct Register {
    enum class Space : uint8_t { kMemory = 0, kPort = 1, kPciConfig = 2 };
    Space space = Space::kMemory;
    uint8_t bit_width = 0;
    uint64_t address = 0;  ///< 0: there is none
    bool present() const { return address != 0; }
};

struct Cpu {
    uint32_t apic_id = 0;
    uint32_t acpi_id = 0;  ///< processor UID, as the DSDT and Domain 0 name it
    bool enabled = false;  ///< false: a slot for hot-plug
};

struct IoApicEntry {
    uint8_t id = 0;
    uint32_t address = 0;   ///< machine address of its registers
    uint32_t gsi_base = 0;  ///< the global system interrupt of its pin 0
};

enum class Trigger : uint8_t { kBusDefault, kEdge, kLevel };
enum class Polarity : uint8_t { kBusDefault, kHigh, kLow };

/// Interrupt source override (5.2.12.5): ISA interrupt `source` arrives at `gsi`.
struct Override {
    uint8_t source = 0;
    uint32_t gsi = 0;
    Trigger trigger = Trigger::kBusDefault;
    Polarity polarity = Polarity::kBusDefault;
};

/// An NMI wired to a local APIC pin (5.2.12.7).
struct LocalNmi {
    static constexpr uint32_t kAllCpus = ~uint32_t{0};
    uint32_t acpi_id = kAllCpus;
    uint8_t lint = 1;
    Polarity polarity = Polarity::kBusDefault;
    Trigger trigger = Trigger::kBusDefault;
};

/// PCI Express memory-mapped configuration (MCFG, PCI firmware specification 4.1.2).
struct McfgRange {
    uint64_t address = 0;  ///< of bus 0's space, even if start_bus is not 0
    uint16_t segment = 0;
    uint8_t start_bus = 0;
    uint8_t end_bus = 0;
};

/// Static resource affinity (SRAT, 5.2.16): what lies near to what, by proximity domain.
struct MemoryAffinity {
    uint64_t start = 0;
    uint64_t bytes = 0;
    uint32_t proximity = 0;
};
struct CpuAffinity {
    uint32_t apic_id = 0;
    uint32_t proximity = 0;
};

/// Distances between proximity domains (SLIT, 5.2.17), in tenths of that of one to itself.
struct Distances {
    static constexpr size_t kMaxDomains = 32;
    size_t count = 0;  ///< 0: no SLIT, or one for more domains than can be listed
    uint8_t from_to[kMaxDomains][kMaxDomains] = {};
};

/// What PM1a and PM1b control want written for soft-off (S5): SLP_TYP in its place, bits 12-10.
struct SoftOff {
    bool known = false;
    uint16_t a = 0;
    uint16_t b = 0;
};

inline constexpr size_t kMaxIoApics = 16;

/// What the tables say, for everyone. Fields of tables that are absent keep their zeros.
struct Info {
    // MADT
    uint64_t lapic_address = 0xfee00000;
    bool has_legacy_pics = true;
    ShortList<Cpu, 256> cpus;
    ShortList<IoApicEntry, kMaxIoApics> ioapics;
    ShortList<Override, 32> overrides;
    ShortList<LocalNmi, 16> local_nmis;
    // FADT
    bool has_fadt = false;
    uint16_t sci = 9;  ///< ISA number of the system control interrupt
    uint32_t pm1a_event_port = 0;
    uint32_t pm1b_event_port = 0;
    uint8_t pm1_event_bytes = 0;  ///< status and enable registers together
    uint32_t pm1a_control_port = 0;
    uint32_t pm1b_control_port = 0;  ///< 0: none
    uint16_t pm_timer_port = 0;      ///< 0: none
    uint8_t pm_timer_width = 24;     ///< bits: 24 or 32
    Register reset_register;
    uint8_t reset_value = 0;
    bool hardware_reduced = false;  ///< no PM registers, no SCI
    uint64_t dsdt_address = 0;
    // DSDT
    SoftOff soft_off;
    // HPET
    uint64_t hpet_address = 0;  ///< 0: none
    // MCFG
    ShortList<McfgRange, 16> mcfg;
    // SRAT and SLIT
    ShortList<MemoryAffinity, 64> memory_affinity;
    ShortList<CpuAffinity, 256> cpu_affinity;
    Distances distances;
};

/// What the RSDP points to.
struct RootPointer {
    uint64_t table = 0;
    bool extended = false;  ///< XSDT with 64-bit entries, else RSDT
};

inline constexpr size_t kHeaderBytes = 36;

/// True if all bytes add up to 0 modulo 256.
bool checksum_ok(Bytes bytes);

/// Reads an RSDP at the beginning of `bytes`; kEINVAL if it is none.
Result<RootPointer> parse_root_pointer(Bytes bytes);
/// Looks for it on every 16-byte boundary (5.2.5.1); kENOENT.
Result<RootPointer> scan_for_root_pointer(Bytes area);

/// A table's signature (four characters) and its whole length, from its first kHeaderBytes;
/// kEINVAL if the length is not possible.
struct Header {
    std::string_view signature;
    uint32_t length;
};
Result<Header> parse_header(Bytes bytes);

/// The `index`-th address in an RSDT or XSDT; kENOENT behind the last.
Result<uint64_t> root_table_entry(Bytes table, bool extended, size_t index);

/// Each takes a whole table, verified by the caller with checksum_ok(), and adds what it says;
/// kEINVAL: too short for what it must hold; `into` may then be filled in part.
Result<> parse_madt(Bytes table, Info& into);
Result<> parse_fadt(Bytes table, Info& into);
Result<> parse_hpet(Bytes table, Info& into);
Result<> parse_mcfg(Bytes table, Info& into);
Result<> parse_srat(Bytes table, Info& into);
Result<> parse_slit(Bytes table, Info& into);

/// Looks for `Name (_S5, Package () {a, b, …})` in a definition block, without interpreting the
/// rest of it: the object is static wherever firmware is sane. Leaves `into` alone if not found.
void find_soft_off(Bytes aml, Info& into);

/// Reads any table that one of the functions above knows; others are skipped with success.
Result<> parse_table(Bytes table, Info& into);

}  // namespace hv::acpi

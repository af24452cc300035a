// The firmware's structures, after the UEFI specification 2.10. Addresses are machine addresses, as
// nobody has called SetVirtualAddressMap(); functions have Microsoft's calling convention (2.3.4).
#pragma once

#include <cstddef>
#include <cstdint>

namespace hv::efi {

using Status = uint64_t;
inline constexpr Status kSuccess = 0, kInvalidParameter = uint64_t{1} << 63 | 2,
                        kBufferTooSmall = uint64_t{1} << 63 | 5;

/// 4.2.1: in front of every table.
struct TableHeader {
    uint64_t signature;
    uint32_t revision;  ///< of the specification, major in the upper half
    uint32_t header_size, crc32, reserved;
};
inline constexpr uint64_t kSystemTableSignature = 0x5453'5953'2049'4249;  // "IBI SYST"
inline constexpr uint64_t kRuntimeSignature = 0x5652'4553'544e'5552;      // "RUNTSERV"

/// 4.3.1; what was of the boot services is gone.
struct SystemTable {
    TableHeader header;
    uint64_t firmware_vendor;  ///< 16-bit characters, ending in 0
    uint32_t firmware_revision, padding;
    uint64_t boot_time[6];  ///< consoles
    uint64_t runtime_services, boot_services, table_count, configuration_tables;
};
static_assert(sizeof(SystemTable) == 120);

struct Guid {
    uint32_t a;
    uint16_t b, c;
    uint8_t d[8];
    bool operator==(const Guid&) const = default;
};

/// 8.3
struct Time {
    uint16_t year;
    uint8_t month, day, hour, minute, second, padding1;
    uint32_t nanosecond;
    int16_t time_zone;
    uint8_t daylight, padding2;
};
static_assert(sizeof(Time) == 16);
struct TimeCapabilities {
    uint32_t resolution, accuracy;
    bool sets_to_zero;
};

/// 4.5.1
struct RuntimeServices {
    template <class... A>
    using Call = Status(__attribute__((ms_abi)) *)(A...);

    TableHeader header;
    Call<Time*, TimeCapabilities*> get_time;
    Call<const Time*> set_time;
    Call<bool*, bool*, Time*> get_wakeup_time;
    Call<bool, const Time*> set_wakeup_time;
    uint64_t set_virtual_address_map, convert_pointer;
    Call<const char16_t*, const Guid*, uint32_t*, uint64_t*, void*> get_variable;
    Call<uint64_t*, char16_t*, Guid*> get_next_variable_name;
    Call<const char16_t*, const Guid*, uint32_t, uint64_t, const void*> set_variable;
    Call<uint32_t*> get_next_high_monotonic_count;
    uint64_t reset_system, update_capsule, query_capsule_capabilities;
    Call<uint32_t, uint64_t*, uint64_t*, uint64_t*> query_variable_info;  ///< from revision 2 on
};
static_assert(offsetof(RuntimeServices, query_variable_info) == 128);

/// 7.2.3. Loaders leave room behind each: the step is told with the map.
struct MemoryDescriptor {
    uint32_t type, padding;
    uint64_t physical_start, virtual_start, pages, attributes;
};
inline constexpr uint64_t kRuntimeAttribute = uint64_t{1} << 63;
inline constexpr uint64_t kWriteProtected = 1 << 12, kNotExecutable = 1 << 14, kReadOnly = 1 << 17,
                          kWriteBack = 1 << 3;
inline constexpr uint32_t kRuntimeCode = 5, kRuntimeData = 6;

}  // namespace hv::efi

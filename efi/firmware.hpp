// The firmware's services before ExitBootServices(), after the UEFI specification 2.10; beside each
// structure the chapter. What stays for run time is in hv/x86/efi/abi.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hv/x86/efi/abi.hpp"

namespace efi {

using hv::efi::Guid;
using hv::efi::MemoryDescriptor;
using hv::efi::Status;
using hv::efi::SystemTable;
using hv::efi::TableHeader;
template <class... A>
using Call = hv::efi::RuntimeServices::Call<A...>;
using Handle = void*;

inline constexpr Status kErrorBit = uint64_t{1} << 63;
inline constexpr Status kNotFound = kErrorBit | 14;
inline constexpr bool failed(Status status) {
    return status & kErrorBit;
}

/// 12.4
struct TextOutput {
    Call<TextOutput*, bool> reset;
    Call<TextOutput*, const char16_t*> output_string;
};
/// 12.3
struct TextInput {
    struct Key {
        uint16_t scan_code;
        char16_t character;
    };
    Call<TextInput*, bool> reset;
    Call<TextInput*, Key*> read_key_stroke;
};

/// 7.2
enum class MemoryType : uint32_t {
    kReserved,
    kLoaderCode,
    kLoaderData,
    kBootServicesCode,
    kBootServicesData,
    kRuntimeServicesCode,
    kRuntimeServicesData,
    kConventional,
    kUnusable,
    kAcpiReclaim,
    kAcpiNvs,
    kMappedIo,
    kMappedIoPorts,
    kPalCode,
    kPersistent,
};
inline constexpr uint32_t kAllocateMaxAddress = 1;

/// 4.4.1
struct BootServices {
    TableHeader header;
    void* task_priority[2];
    /// How, of what type, how many pages, where.
    Call<uint32_t, MemoryType, uint64_t, uint64_t*> allocate_pages;
    Call<uint64_t, uint64_t> free_pages;
    /// Bytes, descriptors, key, step, version.
    Call<uint64_t*, void*, uint64_t*, uint64_t*, uint32_t*> get_memory_map;
    void* pool[2];
    void* events[6];
    void* install_protocol[3];
    Call<Handle, const Guid*, void**> handle_protocol;
    void* reserved;
    void* protocols[4];
    void* images[4];
    Call<Handle, uint64_t> exit_boot_services;
    void* get_next_monotonic_count;
    Call<uint64_t> stall;  ///< microseconds
    Call<uint64_t, uint64_t, uint64_t, const char16_t*> set_watchdog_timer;
    void* controllers[2];
    void* open_protocol[3];
    void* handles[2];
    Call<const Guid*, void*, void**> locate_protocol;
};
static_assert(offsetof(BootServices, handle_protocol) == 0x98);
static_assert(offsetof(BootServices, exit_boot_services) == 0xe8);
static_assert(offsetof(BootServices, locate_protocol) == 0x140);

/// 10.2
struct [[gnu::packed]] DevicePath {
    uint8_t type, subtype;
    uint16_t length;  ///< of the whole node
};
inline constexpr uint8_t kMediaPath = 4, kFilePath = 4, kEndOfPath = 0x7f;

/// 9.1.1
struct LoadedImage {
    static constexpr Guid kGuid{
        0x5b1b31a1, 0x9562, 0x11d2, {0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
    uint32_t revision;
    Handle parent;
    SystemTable* system_table;
    Handle device;
    const DevicePath* file_path;
    void* reserved;
    uint32_t load_options_size;
    const void* load_options;
};

/// 13.5
struct File {
    uint64_t revision;
    Call<File*, File**, const char16_t*, uint64_t, uint64_t> open;
    Call<File*> close;
    void* remove;
    Call<File*, uint64_t*, void*> read;
    void* write;
    Call<File*, uint64_t*> get_position;
    Call<File*, uint64_t> set_position;
};
inline constexpr uint64_t kOpenToRead = 1, kEndOfFile = ~uint64_t{0};

/// 13.4
struct FileSystem {
    static constexpr Guid kGuid{
        0x964e5b22, 0x6459, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
    uint64_t revision;
    Call<FileSystem*, File**> open_volume;
};

/// 12.9
struct GraphicsOutput {
    static constexpr Guid kGuid{
        0x9042a9de, 0x23dc, 0x4a38, {0x96, 0xfb, 0x7a, 0xde, 0xd0, 0x80, 0x51, 0x6a}};
    enum class Format : uint32_t { kRgb, kBgr, kMasks, kNoFrameBuffer };
    struct Info {
        uint32_t version, width, height;
        Format format;
        uint32_t red, green, blue, unused;  ///< masks, where the format says so
        uint32_t pixels_per_line;
    };
    struct Mode {
        uint32_t count, current;
        const Info* info;
        uint64_t info_bytes, frame_buffer, frame_buffer_bytes;
    };
    Call<GraphicsOutput*, uint32_t, uint64_t*, const Info**> query_mode;
    Call<GraphicsOutput*, uint32_t> set_mode;
    void* copy;
    Mode* mode;
};

/// 4.6
struct ConfigurationTable {
    Guid guid;
    const void* table;
};
inline constexpr Guid kAcpi2{
    0x8868e871, 0xe4f1, 0x11d3, {0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81}};
inline constexpr Guid kAcpi1{
    0xeb9d2d30, 0x2d88, 0x11d3, {0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d}};

}  // namespace efi

// What comes from outside before the first guest runs: Domain 0's kernel (bzImage, packed in
// whatever format, ELF with its notes), the boot loader's information, ACPI's tables, the boot
// line. The first byte says which.
#include <sys/mman.h>

#include <cstdio>
#include <vector>

#include "arch/memory.hpp"
#include "boot_fakes.hpp"
#include "fake/no_trace.hpp"
#include "hv/x86/acpi/tables.hpp"
#include "hv/x86/boot/boot_info.hpp"
#include "hv/x86/boot/bzimage.hpp"
#include "hv/x86/boot/elf.hpp"
#include "hv/x86/boot/options.hpp"
#include "hv/x86/boot/unpack/crc32.hpp"
#include "hv/x86/boot/unpack/inflate.hpp"
#include "hv/x86/boot/unpack/unpack.hpp"
#include "hv/x86/boot/unpack/xz/lzma2.hpp"
#include "hv/x86/boot/unpack/xz/x86_filter.hpp"
#include "input.hpp"

namespace hv::arch {
uintptr_t kDirectMap;
}

namespace {

using namespace hv;
using fuzz::Input;
using Bytes = std::span<const uint8_t>;

constexpr size_t kUnpacked = 1 << 16;

// What somebody reads of it later must be there.
void read_all(Bytes bytes) {
    volatile uint8_t sum = 0;
    for (const uint8_t b : bytes) sum = static_cast<uint8_t>(sum + b);
}

void read_kernel(Bytes file) {
    const auto image = boot::KernelImage::parse(file);
    if (!image) return;
    for (const boot::KernelSegment& s : image->segments()) {
        read_all(s.bytes);
        FUZZ_CHECK(s.bytes.size() <= s.memory_size);
        FUZZ_CHECK(s.physical + s.memory_size <= image->physical_end());
    }
}

void find_kernel(Bytes file) {
    const auto payload = boot::find_payload(file);
    if (!payload) return;
    read_all(payload->bytes);
    if (payload->packing == boot::Packing::kNone) return read_kernel(payload->bytes);
    std::vector<uint8_t> unpacked(std::min<uint64_t>(payload->unpacked_size, kUnpacked));
    if (boot::unpack(payload->packing, payload->bytes, unpacked)) read_kernel(unpacked);
}

template <class T>
void put(std::vector<uint8_t>& file, size_t at, T value) {
    if (at + sizeof value <= file.size()) memcpy(file.data() + at, &value, sizeof value);
}

/// With the checksums of both headers right, or hardly anything would get past them.
void unpack_xz(Bytes packed) {
    std::vector<uint8_t> file(packed.begin(), packed.end());
    if (file.size() >= 13) {
        put(file, 8, boot::crc32(Bytes(file).subspan(6, 2)));
        const size_t header = (size_t{file[12]} + 1) * 4;
        if (12 + header <= file.size())
            put(file, 12 + header - 4, boot::crc32(Bytes(file).subspan(12, header - 4)));
    }
    std::vector<uint8_t> unpacked(kUnpacked);
    (void)boot::unpack(boot::Packing::kXz, file, unpacked);
}

/// Without any checksum around it.
void unpack_chunks(Bytes packed) {
    static boot::xz::LzmaDecoder decoder;
    std::vector<uint8_t> unpacked(kUnpacked);
    const auto done = boot::xz::decode_lzma2(decoder, packed, unpacked);
    if (!done) return;
    FUZZ_CHECK(done->consumed <= packed.size() && done->produced <= kUnpacked);
    boot::xz::undo_x86_filter(std::span(unpacked).first(done->produced));
}

/// Deflate without gzip's checksum around it; all of gzip.
void unpack_gzip(Bytes packed) {
    std::vector<uint8_t> unpacked(kUnpacked);
    (void)boot::unpack(boot::Packing::kGzip, packed, unpacked);
    const auto done = boot::inflate(packed, unpacked);
    if (done) FUZZ_CHECK(done->consumed <= packed.size() && done->produced <= kUnpacked);
}

/// With the frame's checksum taken away.
void unpack_zstd(Bytes packed) {
    std::vector<uint8_t> file(packed.begin(), packed.end());
    constexpr size_t kFlags = 4;
    constexpr uint8_t kHasChecksum = 4;
    if (file.size() > kFlags) file[kFlags] &= static_cast<uint8_t>(~kHasChecksum);
    std::vector<uint8_t> unpacked(kUnpacked);
    (void)boot::unpack(boot::Packing::kZstd, file, unpacked);
}

void unpack_lz4(Bytes packed) {
    std::vector<uint8_t> unpacked(kUnpacked);
    (void)boot::unpack(boot::Packing::kLz4, packed, unpacked);
}

void read_tables(Bytes bytes) {
    acpi::Info info;
    (void)acpi::parse_root_pointer(bytes);
    (void)acpi::scan_for_root_pointer(bytes);
    acpi::find_soft_off(bytes, info);
    const auto header = acpi::parse_header(bytes);
    if (!header || header->length > bytes.size()) return;
    const Bytes table = bytes.first(header->length);
    (void)acpi::parse_table(table, info);
    for (const bool extended : {false, true})
        for (size_t i = 0; acpi::root_table_entry(table, extended, i); ++i) FUZZ_CHECK(i < 65536);
}

void read_options(Bytes line) {
    boot::Options options;
    boot::parse_command_line({reinterpret_cast<const char*>(line.data()), line.size()}, options,
                             [](std::string_view text) { FUZZ_CHECK(!text.empty()); });
    for (const std::span<const char> text :
         {std::span<const char>(options.console), std::span<const char>(options.sched),
          std::span<const char>(options.command_line), std::span<const char>(options.dom0_extra)})
        FUZZ_CHECK(memchr(text.data(), 0, text.size()));
}

/// The loader is trusted as to where its structures are, so whatever 32 bits and a length can name
/// may be read.
void read_multiboot(Input in) {
    constexpr size_t kReachable = size_t{9} << 30, kAt = 0x10000, kRoom = 0x10000;
    static char* const ram =
        static_cast<char*>(mmap(nullptr, kReachable, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    arch::kDirectMap = reinterpret_cast<uintptr_t>(ram);
    const bool second = in.byte() & 1;
    const auto bytes = in.bytes(kRoom);
    memset(ram + kAt, 0, kRoom);
    memcpy(ram + kAt, bytes.data(), bytes.size());
    static boot::BootInfo info;
    info = {};
    boot::read_boot_info(second ? 0x36d76289 : 0x2BADB002, kAt, info);
    FUZZ_CHECK(info.module_count <= boot::kMaxModules);
    for (size_t i = 0; i < info.module_count; ++i)
        for (const char c : info.modules[i].command_line) FUZZ_CHECK(c);
    for (const boot::MemoryRegion& r : boot::memory_map()) (void)boot::is_ram(mfn_of(r.start));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input in(data, size);
    switch (in.byte() % 10) {
        case 0:
            find_kernel(in.rest());
            break;
        case 1:
            read_kernel(in.rest());
            break;
        case 2:
            unpack_xz(in.rest());
            break;
        case 3:
            unpack_chunks(in.rest());
            break;
        case 4:
            read_tables(in.rest());
            break;
        case 5:
            read_options(in.rest());
            break;
        case 6:
            read_multiboot(in);
            break;
        case 7:
            unpack_gzip(in.rest());
            break;
        case 8:
            unpack_zstd(in.rest());
            break;
        default:
            unpack_lz4(in.rest());
            break;
    }
    fake::log_text.clear();
    return 0;
}

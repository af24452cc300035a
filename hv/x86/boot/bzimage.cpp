#include "hv/x86/boot/bzimage.hpp"

#include <string_view>

#include "hv/console/log.hpp"
#include "hv/x86/boot/xz/xz.hpp"

namespace hv::boot {
namespace {

// Offsets in the file of the setup header's fields.
constexpr size_t kSetupSectors = 0x1f1;
constexpr size_t kBootFlag = 0x1fe;
constexpr size_t kHeaderMagic = 0x202;
constexpr size_t kVersion = 0x206;
constexpr size_t kPayloadOffset = 0x248;
constexpr size_t kPayloadLength = 0x24c;

constexpr uint16_t kBootFlagValue = 0xaa55;
constexpr uint32_t kHeaderMagicValue = 0x53726448;  // "HdrS"
constexpr uint16_t kFirstVersionWithPayload = 0x0208;
constexpr size_t kSectorSize = 512;
constexpr unsigned kDefaultSetupSectors = 4;  // what 0 means

// No kernel is larger; a size beyond it is a damaged file, not a wish for memory.
constexpr uint64_t kLargestKernel = kGiB;

/// How a payload begins, and what it is then.
struct Signature {
    std::string_view bytes;
    std::string_view name;
};
constexpr Signature kForeignFormats[] = {
    {"\x1f\x8b", "gzip"},
    {"\x28\xb5\x2f\xfd", "zstd"},
    {"\x02\x21\x4c\x18", "lz4"},
    {"\x89LZO", "lzo"},
    {"BZh", "bzip2"},
    {{"\x5d\0\0", 3}, "lzma"},
};

bool begins_with(Bytes bytes, std::string_view text) {
    return bytes.size() >= text.size() &&
           __builtin_memcmp(bytes.data(), text.data(), text.size()) == 0;
}

bool is_bzimage(Bytes file) {
    const auto flag = load<uint16_t>(file, kBootFlag);
    const auto magic = load<uint32_t>(file, kHeaderMagic);
    return flag && magic && *flag == kBootFlagValue && *magic == kHeaderMagicValue;
}

Result<Bytes> payload_of(Bytes file) {
    const uint16_t version = TRY(load<uint16_t>(file, kVersion));
    if (version < kFirstVersionWithPayload) {
        log(LogLevel::kError,
            "Domain 0's kernel: boot protocol {:x} does not say where the kernel proper lies; "
            "use Linux 2.6.26 or later",
            version);
        return Errno::kEOPNOTSUPP;
    }
    const unsigned sectors = TRY(load<uint8_t>(file, kSetupSectors));
    const size_t setup = ((sectors ? sectors : kDefaultSetupSectors) + 1) * kSectorSize;
    const uint32_t offset = TRY(load<uint32_t>(file, kPayloadOffset));
    const uint32_t length = TRY(load<uint32_t>(file, kPayloadLength));
    auto payload = slice(file, setup + offset, length);
    if (!payload) {
        log(LogLevel::kError,
            "Domain 0's kernel is truncated: its payload ends at byte {}, the file at {}; copy "
            "the file anew",
            setup + offset + uint64_t{length}, file.size());
    }
    return payload;
}

/// The kernel's build appends the unpacked size to what it has packed by XZ.
Result<KernelPayload> xz_payload(Bytes payload) {
    if (payload.size() < sizeof(uint32_t)) return Errno::kENODATA;
    const uint32_t size = TRY(load<uint32_t>(payload, payload.size() - sizeof(uint32_t)));
    if (size == 0 || size > kLargestKernel) {
        log(LogLevel::kError,
            "Domain 0's kernel says that it unpacks to {} bytes, which cannot be; copy the file "
            "anew",
            size);
        return Errno::kEINVAL;
    }
    return KernelPayload{PayloadFormat::kXz, payload.first(payload.size() - sizeof size), size};
}

}  // namespace

Result<KernelPayload> find_payload(Bytes file) {
    Bytes payload = file;
    const bool wrapped = is_bzimage(file);
    if (wrapped) payload = TRY(payload_of(file));

    if (begins_with(payload,
                    "\x7f"
                    "ELF"))
        return KernelPayload{PayloadFormat::kElf, payload, payload.size()};
    if (is_xz(payload)) return xz_payload(payload);
    for (const Signature& format : kForeignFormats) {
        if (!begins_with(payload, format.bytes)) continue;
        log(LogLevel::kError,
            "Domain 0's kernel is packed with {}, which cannot be unpacked yet; use a kernel "
            "with CONFIG_KERNEL_XZ (as Debian 12's), or its vmlinux",
            format.name);
        return Errno::kEOPNOTSUPP;
    }
    log(LogLevel::kError, "Domain 0's kernel is {}; name a vmlinuz as the first module",
        wrapped ? "a bzImage with a payload of unknown format"
                : "neither a bzImage nor an ELF file");
    return Errno::kENOEXEC;
}

}  // namespace hv::boot

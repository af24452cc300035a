#include "hv/x86/boot/bzimage.hpp"

#include "hv/console/log.hpp"

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
constexpr uint32_t kElfMagic = 0x464c457f;          // 7F "ELF"
constexpr uint16_t kFirstVersionWithPayload = 0x0208;
constexpr size_t kSectorSize = 512;
constexpr unsigned kDefaultSetupSectors = 4;  // what 0 means

// No kernel is larger; a size beyond it is a damaged file, not a wish for memory.
constexpr uint64_t kLargestKernel = kGiB;

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

/// The last four bytes are the unpacked size: the kernel's build appends it to what it has packed,
/// and gzip itself ends with it.
Result<KernelPayload> packed_payload(Packing packing, Bytes payload) {
    if (payload.size() < sizeof(uint32_t)) return Errno::kENODATA;
    const uint32_t size = TRY(load<uint32_t>(payload, payload.size() - sizeof(uint32_t)));
    if (size == 0 || size > kLargestKernel) {
        log(LogLevel::kError,
            "Domain 0's kernel says that it unpacks to {} bytes, which cannot be; copy the file "
            "anew",
            size);
        return Errno::kEINVAL;
    }
    const size_t appended = packing == Packing::kGzip ? 0 : sizeof size;
    return KernelPayload{packing, payload.first(payload.size() - appended), size};
}

}  // namespace

Result<KernelPayload> find_payload(Bytes file) {
    Bytes payload = file;
    const bool wrapped = is_bzimage(file);
    if (wrapped) payload = TRY(payload_of(file));

    if (load<uint32_t>(payload, 0).value_or(0) == kElfMagic)
        return KernelPayload{Packing::kNone, payload, payload.size()};
    if (const PackedFormat* format = packed_format(payload)) {
        if (format->packing != Packing::kForeign) return packed_payload(format->packing, payload);
        log(LogLevel::kError,
            "Domain 0's kernel is packed with {}, which cannot be unpacked here; use one that is "
            "packed with XZ, gzip, zstd or lz4 (CONFIG_KERNEL_XZ and so on), or its vmlinux",
            format->name);
        return Errno::kEOPNOTSUPP;
    }
    log(LogLevel::kError, "Domain 0's kernel is {}; name a vmlinuz as the first module",
        wrapped ? "a bzImage with a payload of unknown format"
                : "neither a bzImage nor an ELF file");
    return Errno::kENOEXEC;
}

}  // namespace hv::boot

#include "hv/x86/boot/unpack/unpack.hpp"

#include "hv/console/log.hpp"
#include "hv/x86/boot/unpack/gzip.hpp"
#include "hv/x86/boot/unpack/lz4.hpp"
#include "hv/x86/boot/unpack/xz/xz.hpp"
#include "hv/x86/boot/unpack/zstd/zstd.hpp"

namespace hv::boot {
namespace {

constexpr PackedFormat kFormats[] = {
    {Packing::kXz, {"\xfd\x37zXZ\0", 6}, "XZ"},
    {Packing::kGzip, "\x1f\x8b", "gzip"},
    {Packing::kZstd, "\x28\xb5\x2f\xfd", "zstd"},
    {Packing::kLz4, "\x02\x21\x4c\x18", "lz4"},
    {Packing::kForeign, "\x04\x22\x4d\x18", "lz4 (not its legacy format)"},
    {Packing::kForeign, "\x89LZO", "lzo"},
    {Packing::kForeign, "BZh", "bzip2"},
    {Packing::kForeign, {"\x5d\0\0", 3}, "lzma"},
};

std::string_view name_of(Packing packing) {
    for (const PackedFormat& format : kFormats)
        if (format.packing == packing) return format.name;
    return "unknown";
}

Result<> dispatch(Packing packing, Bytes packed, std::span<uint8_t> output) {
    switch (packing) {
        case Packing::kXz:
            return xz_unpack(packed, output);
        case Packing::kGzip:
            return gzip_unpack(packed, output);
        case Packing::kZstd:
            return zstd_unpack(packed, output);
        case Packing::kLz4:
            return lz4_unpack(packed, output);
        case Packing::kNone:
        case Packing::kForeign:
            break;
    }
    return Errno::kEOPNOTSUPP;
}

const char* supported_way(Packing packing) {
    switch (packing) {
        case Packing::kXz:
            return "unknown filter or check; pack it with xz --check=crc32 --x86 --lzma2";
        case Packing::kGzip:
            return "not packed by deflate; pack it with gzip -9";
        case Packing::kZstd:
            return "it wants a dictionary; pack it without one, with zstd -19";
        default:
            return "there is no decoder for it";
    }
}

const char* explain(Packing packing, Errno error) {
    switch (error) {
        case Errno::kENODATA:
            return "it is truncated; copy the file anew";
        case Errno::kENOSPC:
        case Errno::kE2BIG:
            return "it unpacks to another size than the file says; copy the file anew";
        case Errno::kEOPNOTSUPP:
            return supported_way(packing);
        case Errno::kENOMEM:
            return "no memory for the decoder";
        default:
            return "it is damaged; copy the file anew";
    }
}

}  // namespace

const PackedFormat* packed_format(Bytes packed) {
    for (const PackedFormat& format : kFormats) {
        const std::string_view magic = format.magic;
        if (packed.size() >= magic.size() &&
            __builtin_memcmp(packed.data(), magic.data(), magic.size()) == 0)
            return &format;
    }
    return nullptr;
}

Result<> unpack(Packing packing, Bytes packed, std::span<uint8_t> output) {
    Result<> done = dispatch(packing, packed, output);
    if (!done) {
        log(LogLevel::kError, "{} data cannot be unpacked: {}", name_of(packing),
            explain(packing, done.error()));
    }
    return done;
}

}  // namespace hv::boot

//   1F 8B | method | flags | time (4) | level | system | what the flags say | deflate | CRC32 |
//   size
#include "hv/x86/boot/unpack/gzip.hpp"

#include "hv/x86/boot/unpack/byte_reader.hpp"
#include "hv/x86/boot/unpack/crc32.hpp"
#include "hv/x86/boot/unpack/inflate.hpp"

namespace hv::boot {
namespace {

constexpr uint16_t kMagic = 0x8b1f;
constexpr uint8_t kDeflate = 8;
constexpr size_t kTimeLevelSystem = 6;

// RFC 1952, 2.3.1
constexpr uint8_t kHeaderCrc = 0x02;
constexpr uint8_t kExtra = 0x04;
constexpr uint8_t kName = 0x08;
constexpr uint8_t kComment = 0x10;
constexpr uint8_t kReserved = 0xe0;

Result<> skip_text(ByteReader& reader) {
    while (TRY(reader.byte()) != 0) {
    }
    return {};
}

/// Leaves `reader` at the packed data.
Result<> read_header(ByteReader& reader, Bytes file) {
    if (TRY(reader.number(2)) != kMagic) return Errno::kEINVAL;
    if (TRY(reader.byte()) != kDeflate) return Errno::kEOPNOTSUPP;
    const uint8_t flags = TRY(reader.byte());
    if (flags & kReserved) return Errno::kEOPNOTSUPP;
    TRY(reader.take(kTimeLevelSystem));
    if (flags & kExtra) TRY(reader.take(TRY(reader.number(2))));
    if (flags & kName) TRY(skip_text(reader));
    if (flags & kComment) TRY(skip_text(reader));
    if (flags & kHeaderCrc) {
        const uint32_t crc = crc32(file.first(reader.at()));
        if (TRY(reader.number(2)) != (crc & 0xffff)) return Errno::kEINVAL;
    }
    return {};
}

}  // namespace

Result<> gzip_unpack(Bytes packed, std::span<uint8_t> output) {
    ByteReader reader(packed);
    TRY(read_header(reader, packed));
    const InflateProgress done = TRY(inflate(reader.rest(), output));
    if (done.produced != output.size()) return Errno::kE2BIG;
    TRY(reader.take(done.consumed));
    if (TRY(reader.number(4)) != crc32(output)) return Errno::kEINVAL;
    if (TRY(reader.number(4)) != (output.size() & 0xffffffff)) return Errno::kEINVAL;
    return {};
}

}  // namespace hv::boot

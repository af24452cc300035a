//   stream header | block | block | … | index | footer          everything a multiple of 4 bytes
//                  block = header, LZMA2 chunks, padding, check
//                  index = 00, number of blocks, two sizes of each, padding, CRC32
#include "hv/x86/boot/unpack/xz/xz.hpp"

#include "hv/memory/heap.hpp"
#include "hv/x86/boot/unpack/byte_reader.hpp"
#include "hv/x86/boot/unpack/crc32.hpp"
#include "hv/x86/boot/unpack/xz/lzma2.hpp"
#include "hv/x86/boot/unpack/xz/x86_filter.hpp"

namespace hv::boot {
namespace {

using namespace xz;

constexpr uint8_t kHeaderMagic[6] = {0xfd, '7', 'z', 'X', 'Z', 0};
constexpr uint8_t kFooterMagic[2] = {'Y', 'Z'};
constexpr size_t kStreamHeaderSize = 12;
constexpr size_t kFooterSize = 12;

enum class Check : uint8_t { kNone = 0, kCrc32 = 1 };
constexpr uint64_t kFilterX86 = 0x04;
constexpr uint64_t kFilterLzma2 = 0x21;

// A block header's flags
constexpr uint8_t kFilterCountMask = 0x03;
constexpr uint8_t kReservedFlags = 0x3c;
constexpr uint8_t kHasPackedSize = 0x40;
constexpr uint8_t kHasUnpackedSize = 0x80;

/// A number of 7 bits a byte, lowest first, top bit: more follow.
Result<uint64_t> take_number(ByteReader& reader) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        uint8_t part = TRY(reader.byte());
        if (part == 0 && shift) return Errno::kEINVAL;  // not the shortest form
        value |= uint64_t{part & 0x7fu} << shift;
        if (!(part & 0x80)) return value;
    }
    return Errno::kEINVAL;
}

Result<> expect_crc(Bytes file, size_t crc_at, Bytes covered) {
    if (TRY(load<uint32_t>(file, crc_at)) != crc32(covered)) return Errno::kEINVAL;
    return {};
}

struct BlockHeader {
    size_t size;
    bool x86_filter;
};

struct Totals {
    uint64_t blocks = 0;
    uint64_t packed = 0;  // sum of the blocks' sizes without their padding, as the index has them
    uint64_t unpacked = 0;
};

class Stream {
  public:
    Stream(Bytes packed, std::span<uint8_t> output, LzmaDecoder& decoder)
        : packed_(packed), output_(output), decoder_(decoder) {}

    Result<> unpack() {
        TRY(header());
        for (;;) {
            if (at_ >= packed_.size()) return Errno::kENODATA;
            if (packed_[at_] == 0) break;  // the index; a block header's size byte is never 0
            TRY(block());
        }
        if (totals_.unpacked != output_.size()) return Errno::kE2BIG;
        const size_t index_size = TRY(index());
        return footer(index_size);
    }

  private:
    Result<> header() {
        Bytes bytes = TRY(slice(packed_, 0, kStreamHeaderSize));
        if (__builtin_memcmp(bytes.data(), kHeaderMagic, sizeof kHeaderMagic) != 0)
            return Errno::kEINVAL;
        TRY(expect_crc(bytes, 8, bytes.subspan(6, 2)));
        if (bytes[6] != 0 || bytes[7] > static_cast<uint8_t>(Check::kCrc32))
            return Errno::kEOPNOTSUPP;
        check_ = static_cast<Check>(bytes[7]);
        at_ = kStreamHeaderSize;
        return {};
    }

    Result<BlockHeader> block_header() {
        const size_t size = (size_t{packed_[at_]} + 1) * 4;
        Bytes bytes = TRY(slice(packed_, at_, size));
        TRY(expect_crc(bytes, size - 4, bytes.first(size - 4)));
        ByteReader reader(bytes.subspan(1, size - 5));
        const uint8_t flags = TRY(reader.byte());
        if (flags & kReservedFlags) return Errno::kEOPNOTSUPP;
        // The sizes are optional and say nothing that the chunks and the index do not say.
        if (flags & kHasPackedSize) TRY(take_number(reader));
        if (flags & kHasUnpackedSize) TRY(take_number(reader));

        const unsigned filters = (flags & kFilterCountMask) + 1;
        BlockHeader header{size, filters == 2};
        if (filters > 2) return Errno::kEOPNOTSUPP;
        if (header.x86_filter) {
            const uint64_t id = TRY(take_number(reader));
            const uint64_t properties = TRY(take_number(reader));
            // Its one property, a start offset, is never used by kernels.
            if (id != kFilterX86 || properties != 0) return Errno::kEOPNOTSUPP;
        }
        const uint64_t id = TRY(take_number(reader));
        const uint64_t properties = TRY(take_number(reader));
        if (id != kFilterLzma2 || properties != 1) return Errno::kEOPNOTSUPP;
        TRY(reader.byte());  // dictionary size: the whole output serves as dictionary
        TRY(reader.zeros(reader.left()));
        return header;
    }

    Result<> block() {
        const size_t start = at_;
        const BlockHeader header = TRY(block_header());
        at_ += header.size;
        std::span<uint8_t> room = output_.subspan(totals_.unpacked);
        const Lzma2Progress done = TRY(decode_lzma2(decoder_, packed_.subspan(at_), room));
        at_ += done.consumed;
        std::span<uint8_t> unpacked = room.first(done.produced);
        if (header.x86_filter) undo_x86_filter(unpacked);

        const size_t check_size = check_ == Check::kCrc32 ? 4 : 0;
        totals_.packed += at_ - start + check_size;
        TRY(padding(start));
        if (check_ == Check::kCrc32) TRY(expect_crc(packed_, at_, unpacked));
        at_ += check_size;
        totals_.unpacked += done.produced;
        ++totals_.blocks;
        return {};
    }

    /// Zeros up to a multiple of 4 bytes from `start`.
    Result<> padding(size_t start) {
        const size_t count = (0 - (at_ - start)) % 4;
        TRY(ByteReader(TRY(slice(packed_, at_, count))).zeros(count));
        at_ += count;
        return {};
    }

    /// Checks that the index speaks of the blocks that were there; returns its size.
    Result<size_t> index() {
        const size_t start = at_;
        ByteReader reader(packed_.subspan(start));
        Totals listed;
        TRY(reader.byte());
        listed.blocks = TRY(take_number(reader));
        if (listed.blocks != totals_.blocks) return Errno::kEINVAL;
        for (uint64_t i = 0; i < listed.blocks; ++i) {
            listed.packed += TRY(take_number(reader));
            listed.unpacked += TRY(take_number(reader));
        }
        if (listed.packed != totals_.packed || listed.unpacked != totals_.unpacked)
            return Errno::kEINVAL;
        at_ += reader.at();
        TRY(padding(start));
        TRY(expect_crc(packed_, at_, packed_.subspan(start, at_ - start)));
        at_ += 4;
        return at_ - start;
    }

    Result<> footer(size_t index_size) {
        Bytes bytes = TRY(slice(packed_, at_, kFooterSize));
        TRY(expect_crc(bytes, 0, bytes.subspan(4, 6)));
        const uint32_t backward = TRY(load<uint32_t>(bytes, 4));
        if ((uint64_t{backward} + 1) * 4 != index_size) return Errno::kEINVAL;
        if (__builtin_memcmp(&bytes[8], &packed_[6], 2) != 0) return Errno::kEINVAL;
        if (__builtin_memcmp(&bytes[10], kFooterMagic, sizeof kFooterMagic) != 0)
            return Errno::kEINVAL;
        return {};
    }

    Bytes packed_;
    std::span<uint8_t> output_;
    LzmaDecoder& decoder_;
    Check check_ = Check::kNone;
    size_t at_ = 0;  // in packed_
    Totals totals_;
};

}  // namespace

Result<> xz_unpack(Bytes packed, std::span<uint8_t> output) {
    heap::Owned<LzmaDecoder> decoder(heap::create<LzmaDecoder>());
    if (!decoder) return Errno::kENOMEM;
    return Stream(packed, output, *decoder).unpack();
}

}  // namespace hv::boot

//   a frame = 28 B5 2F FD | header | blocks | checksum (4), if the header says so
//   a block = last? (1 bit) | kind (2 bits) | size (21 bits) | plain bytes, or one byte, or
//                                                              literals (.cpp), sequences (.cpp)
#include "hv/x86/boot/unpack/zstd/zstd.hpp"

#include "hv/memory/heap.hpp"
#include "hv/x86/boot/unpack/zstd/literals.hpp"
#include "hv/x86/boot/unpack/zstd/sequences.hpp"
#include "hv/x86/boot/unpack/zstd/xxh64.hpp"

namespace hv::boot {
namespace {

using namespace zstd;

constexpr uint32_t kFrame = 0xfd2fb528;
constexpr uint32_t kSkippableFrame = 0x184d2a50;  // and the 15 numbers behind it
constexpr uint32_t kSkippableMask = 0xfffffff0;

// The header's first byte
constexpr uint8_t kHasChecksum = 0x04;
constexpr uint8_t kReserved = 0x08;
constexpr uint8_t kSingleSegment = 0x20;  // no window's size

enum class BlockKind : uint8_t { kPlain, kSameByte, kPacked, kReserved };

struct FrameHeader {
    bool has_checksum;
    bool has_size;
    uint64_t size;  // unpacked
};

class Decoder {
  public:
    void start(std::span<uint8_t> output) {
        output_ = {output.data(), output.data(), nullptr, output.data() + output.size()};
    }

    Result<> run(Bytes packed) {
        ByteReader reader(packed);
        while (reader.left()) {
            const auto magic = static_cast<uint32_t>(TRY(reader.number(4)));
            if ((magic & kSkippableMask) == kSkippableFrame)
                TRY(reader.take(TRY(reader.number(4))));
            else if (magic == kFrame)
                TRY(frame(reader));
            else
                return Errno::kEINVAL;
        }
        return output_.at == output_.room_end ? Result<>() : Errno::kE2BIG;
    }

  private:
    static Result<FrameHeader> header(ByteReader& reader) {
        const uint8_t first = TRY(reader.byte());
        if (first & kReserved) return Errno::kEOPNOTSUPP;
        const bool single_segment = first & kSingleSegment;
        if (!single_segment) TRY(reader.byte());  // the window's size
        static constexpr uint8_t kDictionaryBytes[] = {0, 1, 2, 4};
        if (TRY(reader.number(kDictionaryBytes[first & 3])) != 0) return Errno::kEOPNOTSUPP;
        static constexpr uint8_t kSizeBytes[] = {0, 2, 4, 8};
        const unsigned format = first >> 6;
        const size_t bytes = format == 0 && single_segment ? 1 : kSizeBytes[format];
        const uint64_t size = TRY(reader.number(bytes)) + (bytes == 2 ? 256 : 0);
        return FrameHeader{(first & kHasChecksum) != 0, bytes != 0, size};
    }

    Result<> frame(ByteReader& reader) {
        const FrameHeader header = TRY(Decoder::header(reader));
        output_.begin = output_.at;
        literals_.forget();
        sequences_.forget();
        while (!TRY(block(reader))) {
        }
        const std::span<const uint8_t> unpacked(output_.begin, output_.at);
        if (header.has_size && header.size != unpacked.size()) return Errno::kEINVAL;
        if (header.has_checksum && TRY(reader.number(4)) != (xxh64(unpacked) & 0xffffffff))
            return Errno::kEINVAL;
        return {};
    }

    /// Returns whether it was the last one.
    Result<bool> block(ByteReader& reader) {
        const auto header = static_cast<uint32_t>(TRY(reader.number(3)));
        const bool last = header & 1;
        const auto kind = static_cast<BlockKind>(header >> 1 & 3);
        const size_t size = header >> 3;
        if (size > kMostOfBlock || kind == BlockKind::kReserved) return Errno::kEINVAL;
        const auto room = static_cast<size_t>(output_.room_end - output_.at);
        if (kind == BlockKind::kPacked) {
            output_.end = output_.at + (room < kMostOfBlock ? room : kMostOfBlock);
            ByteReader bytes(TRY(reader.take(size)));
            TRY(literals_.read(bytes));
            TRY(sequences_.run(bytes, literals_, output_));
            return last;
        }
        const Bytes bytes = TRY(reader.take(kind == BlockKind::kPlain ? size : 1));
        if (size > room) return Errno::kENOSPC;
        if (kind == BlockKind::kPlain)
            __builtin_memcpy(output_.at, bytes.data(), size);
        else
            __builtin_memset(output_.at, bytes[0], size);
        output_.at += size;
        return last;
    }

    Output output_{};
    Literals literals_;
    Sequences sequences_;
};

}  // namespace

Result<> zstd_unpack(Bytes packed, std::span<uint8_t> output) {
    heap::Owned<Decoder> decoder(heap::create<Decoder>());
    if (!decoder) return Errno::kENOMEM;
    decoder->start(output);
    return decoder->run(packed);
}

}  // namespace hv::boot

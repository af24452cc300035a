//   02 21 4C 18 | size (4), block | size (4), block | …     each block unpacks to 8 MiB, the last
//   to less
//
//   a block = sequences of:  token | more literals' length | literals | distance (2) | more match's
//   length
//             the token's high half: literals; its low half: the match, less 4; 15 in a half: bytes
//             follow that are added, up to and with the first one below 255.
//             The last sequence has no match.
#include "hv/x86/boot/unpack/lz4.hpp"

#include "hv/x86/boot/unpack/byte_reader.hpp"
#include "hv/x86/boot/unpack/copy.hpp"

namespace hv::boot {
namespace {

constexpr uint32_t kLegacyMagic = 0x184c2102;
constexpr size_t kBlockUnpacked = 8 * kMiB;
constexpr size_t kLeastMatch = 4;
constexpr size_t kMoreFollows = 15;

/// One block: reads it from `in`, writes from `out` on.
struct Block {
    const uint8_t* in;
    const uint8_t* const in_end;
    uint8_t* out;
    uint8_t* const begin;
    uint8_t* const end;       ///< it must not unpack to more
    uint8_t* const room_end;  ///< up to here the output may be overwritten in advance

    /// Adds to a length what follows if its half of the token is full.
    Result<size_t> whole_length(size_t half) {
        if (half != kMoreFollows) return half;
        size_t length = half;
        for (uint8_t more = 255; more == 255; length += more) {
            if (in == in_end) return Errno::kENODATA;
            more = *in++;
        }
        return length;
    }

    Result<> sequences() {
        while (in != in_end) {
            const uint8_t token = *in++;
            const size_t literals = TRY(whole_length(token >> 4));
            if (literals > static_cast<size_t>(in_end - in)) return Errno::kENODATA;
            if (literals > static_cast<size_t>(end - out)) return Errno::kENOSPC;
            out = copy_run(out, in, literals, room_end, in_end);
            in += literals;
            if (in == in_end) break;

            if (in_end - in < 2) return Errno::kENODATA;
            const size_t distance = in[0] | size_t{in[1]} << 8;
            in += 2;
            const size_t length = kLeastMatch + TRY(whole_length(token & 0xf));
            if (distance == 0 || distance > static_cast<size_t>(out - begin)) return Errno::kEINVAL;
            if (length > static_cast<size_t>(end - out)) return Errno::kENOSPC;
            out = copy_match(out, distance, length, room_end);
        }
        return {};
    }
};

}  // namespace

Result<> lz4_unpack(Bytes packed, std::span<uint8_t> output) {
    ByteReader reader(packed);
    if (TRY(reader.number(4)) != kLegacyMagic) return Errno::kEINVAL;
    uint8_t* out = output.data();
    uint8_t* const room_end = out + output.size();
    while (reader.left()) {
        const Bytes bytes = TRY(reader.take(TRY(reader.number(4))));
        const size_t room = static_cast<size_t>(room_end - out);
        Block block{.in = bytes.data(),
                    .in_end = bytes.data() + bytes.size(),
                    .out = out,
                    .begin = out,
                    .end = out + (room < kBlockUnpacked ? room : kBlockUnpacked),
                    .room_end = room_end};
        TRY(block.sequences());
        out = block.out;
    }
    return out == room_end ? Result<>() : Errno::kE2BIG;
}

}  // namespace hv::boot

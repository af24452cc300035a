//   header:  kind (2 bits) | how long the sizes are (2 bits) | unpacked size | packed size, if
//   packed packed:  the tree, if it is a new one | four streams: three sizes (2 each) | streams
#include "hv/x86/boot/unpack/zstd/literals.hpp"

namespace hv::boot::zstd {
namespace {

enum class Kind : uint8_t { kPlain, kSameByte, kPacked, kPackedSameTree };

constexpr Kind kind_of(uint8_t first) {
    return static_cast<Kind>(first & 3);
}
constexpr unsigned size_format(uint8_t first) {
    return first >> 2 & 3;
}

/// The size of literals that are not packed, whose header begins with `first`.
Result<size_t> plain_size(ByteReader& block, uint8_t first) {
    switch (size_format(first)) {
        case 1:
            return first >> 4 | TRY(block.number(1)) << 4;
        case 3:
            return first >> 4 | TRY(block.number(2)) << 4;
        default:  // one bit of the format belongs to the size
            return first >> 3;
    }
}

}  // namespace

Result<> Literals::read(ByteReader& block) {
    const uint8_t first = TRY(block.byte());
    const Kind kind = kind_of(first);
    if (kind == Kind::kPacked || kind == Kind::kPackedSameTree)
        return read_packed(block, first, kind == Kind::kPacked);

    size_ = TRY(plain_size(block, first));
    if (size_ > kMostOfBlock) return Errno::kEINVAL;
    if (kind == Kind::kPlain) {
        __builtin_memcpy(bytes_, TRY(block.take(size_)).data(), size_);
    } else {
        __builtin_memset(bytes_, TRY(block.byte()), size_);
    }
    return {};
}

Result<> Literals::read_packed(ByteReader& block, uint8_t first, bool new_tree) {
    const unsigned format = size_format(first);
    static constexpr uint8_t kSizeBits[] = {10, 10, 14, 18};
    const unsigned bits = kSizeBits[format];
    const size_t more = (4 + 2 * bits + 7) / 8 - 1;  // bytes of the header behind the first one
    const uint64_t sizes = (first | TRY(block.number(more)) << 8) >> 4;
    const uint64_t mask = (1u << bits) - 1;
    size_ = sizes & mask;
    Bytes packed = TRY(block.take(sizes >> bits & mask));
    if (size_ > kMostOfBlock) return Errno::kEINVAL;

    if (new_tree) {
        have_tree_ = false;
        packed = packed.subspan(TRY(tree_.read(packed)));
        have_tree_ = true;
    } else if (!have_tree_) {
        return Errno::kEINVAL;
    }
    if (format != 0) return decode_four(packed);
    return tree_.decode(packed, {bytes_, size_});
}

/// Four streams, each of a quarter, so that a processor can work on all of them at once.
Result<> Literals::decode_four(Bytes streams) {
    ByteReader reader(streams);
    size_t sizes[3];
    for (size_t& size : sizes) size = TRY(reader.number(2));
    const size_t quarter = (size_ + 3) / 4;
    if (3 * quarter > size_) return Errno::kEINVAL;
    uint8_t* out = bytes_;
    for (const size_t size : sizes) {
        TRY(tree_.decode(TRY(reader.take(size)), {out, quarter}));
        out += quarter;
    }
    return tree_.decode(reader.rest(), {out, size_ - 3 * quarter});
}

}  // namespace hv::boot::zstd

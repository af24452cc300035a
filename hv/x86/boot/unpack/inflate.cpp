//   a block = last? (1 bit) | kind (2 bits) | stored:  rest of the byte, length (2), ~length (2),
//   bytes
//                                           | fixed:   symbols in the codes of RFC 1951, 3.2.6
//                                           | dynamic: two codes, then symbols in them
#include "hv/x86/boot/unpack/inflate.hpp"

#include "hv/memory/heap.hpp"
#include "hv/x86/boot/unpack/bit_reader.hpp"
#include "hv/x86/boot/unpack/byte_reader.hpp"
#include "hv/x86/boot/unpack/copy.hpp"
#include "hv/x86/boot/unpack/prefix_code.hpp"

namespace hv::boot {
namespace {

enum class BlockKind : uint8_t { kStored, kFixed, kDynamic };

// What the symbols mean: below 256 a literal, then the end of the block, then lengths of matches.
constexpr uint32_t kEndOfBlock = 256;
constexpr uint32_t kFirstLength = 257;
constexpr uint32_t kLengths = 29;
constexpr uint32_t kDistances = 30;
constexpr size_t kMostLiterals = kFirstLength + kLengths;  // literals, end and lengths

/// A symbol that stands for `base` and more, which the next `extra` bits say.
struct Range {
    uint16_t base;
    uint8_t extra;
};
constexpr Range kLengthRanges[kLengths] = {
    {3, 0},  {4, 0},  {5, 0},  {6, 0},   {7, 0},   {8, 0},   {9, 0},   {10, 0},  {11, 1}, {13, 1},
    {15, 1}, {17, 1}, {19, 2}, {23, 2},  {27, 2},  {31, 2},  {35, 3},  {43, 3},  {51, 3}, {59, 3},
    {67, 4}, {83, 4}, {99, 4}, {115, 4}, {131, 5}, {163, 5}, {195, 5}, {227, 5}, {258, 0}};
constexpr Range kDistanceRanges[kDistances] = {
    {1, 0},     {2, 0},     {3, 0},     {4, 0},      {5, 1},      {7, 1},
    {9, 2},     {13, 2},    {17, 3},    {25, 3},     {33, 4},     {49, 4},
    {65, 5},    {97, 5},    {129, 6},   {193, 6},    {257, 7},    {385, 7},
    {513, 8},   {769, 8},   {1025, 9},  {1537, 9},   {2049, 10},  {3073, 10},
    {4097, 11}, {6145, 11}, {8193, 12}, {12289, 12}, {16385, 13}, {24577, 13}};

class Inflater {
  public:
    void start(Bytes packed, std::span<uint8_t> output) {
        packed_ = packed;
        begin_ = out_ = output.data();
        end_ = begin_ + output.size();
    }

    Result<InflateProgress> run() {
        BitReader bits(packed_);
        for (bool last = false; !last;) {
            bits.refill();
            last = bits.take(1);
            TRY(block(bits));
        }
        const Bytes rest = TRY(bits.rest());
        return InflateProgress{packed_.size() - rest.size(), static_cast<size_t>(out_ - begin_)};
    }

  private:
    Result<> block(BitReader& bits) {
        switch (static_cast<BlockKind>(bits.take(2))) {
            case BlockKind::kStored:
                return stored(bits);
            case BlockKind::kFixed:
                TRY(set_fixed_codes());
                return symbols(bits);
            case BlockKind::kDynamic:
                TRY(read_codes(bits));
                return symbols(bits);
        }
        return Errno::kEINVAL;
    }

    Result<> stored(BitReader& bits) {
        ByteReader reader(TRY(bits.rest()));
        const uint64_t length = TRY(reader.number(2));
        if (TRY(reader.number(2)) != (length ^ 0xffff)) return Errno::kEINVAL;
        const Bytes bytes = TRY(reader.take(length));
        if (length > static_cast<size_t>(end_ - out_)) return Errno::kENOSPC;
        __builtin_memcpy(out_, bytes.data(), length);
        out_ += length;
        bits = BitReader(reader.rest());
        return {};
    }

    Result<> set_fixed_codes() {
        uint8_t lengths[PrefixCode::kMostSymbols];
        for (unsigned i = 0; i < PrefixCode::kMostSymbols; ++i)
            lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
        TRY(literals_.set(lengths));
        constexpr size_t kFixedDistances = 32;  // the last two never occur
        for (unsigned i = 0; i < kFixedDistances; ++i) lengths[i] = 5;
        return distances_.set(std::span(lengths).first(kFixedDistances));
    }

    Result<> read_codes(BitReader& bits);
    Result<> symbols(BitReader& bits);

    Bytes packed_;
    uint8_t* begin_ = nullptr;
    uint8_t* out_ = nullptr;
    uint8_t* end_ = nullptr;
    PrefixCode literals_;  // and ends and lengths; before that, the code of the codes' lengths
    PrefixCode distances_;
};

/// Two codes' lengths, told in a third code (RFC 1951, 3.2.7).
Result<> Inflater::read_codes(BitReader& bits) {
    bits.refill();
    const size_t literals = bits.take(5) + 257;
    const size_t distances = bits.take(5) + 1;
    const size_t told = bits.take(4) + 4;
    if (literals > kMostLiterals || distances > kDistances) return Errno::kEINVAL;

    static constexpr uint8_t kOrder[] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                         11, 4,  12, 3, 13, 2, 14, 1, 15};
    uint8_t of_lengths[sizeof kOrder] = {};
    for (size_t i = 0; i < told; ++i) {
        bits.refill();
        of_lengths[kOrder[i]] = static_cast<uint8_t>(bits.take(3));
    }
    TRY(literals_.set(of_lengths));

    uint8_t lengths[kMostLiterals + kDistances];
    for (size_t i = 0; i < literals + distances;) {
        bits.refill();
        const uint32_t symbol = literals_.decode(bits);
        size_t count = 1;
        uint8_t length = 0;
        if (symbol < 16) {
            length = static_cast<uint8_t>(symbol);
        } else if (symbol == 16) {  // the one before, again
            if (i == 0) return Errno::kEINVAL;
            length = lengths[i - 1];
            count = 3 + bits.take(2);
        } else if (symbol == 17) {
            count = 3 + bits.take(3);
        } else if (symbol == 18) {
            count = 11 + bits.take(7);
        } else {
            return Errno::kEINVAL;
        }
        if (count > literals + distances - i) return Errno::kEINVAL;
        for (; count; --count) lengths[i++] = length;
    }
    if (bits.overrun()) return Errno::kENODATA;
    if (lengths[kEndOfBlock] == 0) return Errno::kEINVAL;
    TRY(literals_.set(std::span(lengths).first(literals)));
    return distances_.set(std::span(lengths).subspan(literals, distances));
}

// A literal or a match takes at most 15 + 5 + 15 + 13 bits: one refill() for each suffices. All
// state is in locals here, which is what makes it fast.
Result<> Inflater::symbols(BitReader& stream) {
    BitReader bits = stream;
    uint8_t* out = out_;
    for (;;) {
        bits.refill();
        uint32_t symbol = literals_.decode(bits);
        if (symbol < kEndOfBlock) {
            if (out == end_) return bits.overrun() ? Errno::kENODATA : Errno::kENOSPC;
            *out++ = static_cast<uint8_t>(symbol);
            continue;
        }
        if (bits.overrun()) return Errno::kENODATA;
        if (symbol == kEndOfBlock) break;
        symbol -= kFirstLength;
        if (symbol >= kLengths) return Errno::kEINVAL;
        const size_t length = kLengthRanges[symbol].base + bits.take(kLengthRanges[symbol].extra);
        const uint32_t far = distances_.decode(bits);
        if (far >= kDistances) return bits.overrun() ? Errno::kENODATA : Errno::kEINVAL;
        const size_t distance = kDistanceRanges[far].base + bits.take(kDistanceRanges[far].extra);
        if (bits.overrun()) return Errno::kENODATA;
        if (distance > static_cast<size_t>(out - begin_)) return Errno::kEINVAL;
        if (length > static_cast<size_t>(end_ - out)) return Errno::kENOSPC;
        out = copy_match(out, distance, length, end_);
    }
    stream = bits;
    out_ = out;
    return {};
}

}  // namespace

Result<InflateProgress> inflate(Bytes packed, std::span<uint8_t> output) {
    heap::Owned<Inflater> inflater(heap::create<Inflater>());
    if (!inflater) return Errno::kENOMEM;
    inflater->start(packed, output);
    return inflater->run();
}

}  // namespace hv::boot

#include "hv/x86/boot/unpack/zstd/sequences.hpp"

#include <array>

namespace hv::boot::zstd {
namespace {

// RFC 8878, 3.1.1.3.2.1.1: a code stands for `base` and more, which the next `extra` bits say.
struct Range {
    uint32_t base;
    uint8_t extra;
};

/// One for each code: the first `plain` ones are numbers themselves, from `first` on.
template <size_t kCodes>
constexpr std::array<Range, kCodes> make_ranges(uint32_t first, size_t plain,
                                                const uint8_t (&extra)[kCodes]) {
    std::array<Range, kCodes> ranges{};
    uint32_t base = first;
    for (size_t code = 0; code < kCodes; ++code) {
        ranges[code] = {base, code < plain ? uint8_t{0} : extra[code]};
        base += 1u << ranges[code].extra;
    }
    return ranges;
}

constexpr auto kLiteralRanges =
    make_ranges<36>(0, 16, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0,  0,  0,  0,  1,  1,
                            1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});
constexpr auto kMatchRanges = make_ranges<53>(
    3, 32, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0,  0,  0,  0,  0,  0, 0,
            0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});
static_assert(kLiteralRanges[25].base == 64 && kLiteralRanges[35].base == 65536);
static_assert(kMatchRanges[43].base == 131 && kMatchRanges[52].base == 65539);
constexpr size_t kDistanceCodes = 32;  // 2^code and `code` bits more

// RFC 8878, 3.1.1.3.2.2: the tables of blocks that bring none.
constexpr Share kLiteralShares[] = {4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1,  1,  2,  2,
                                    2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1};
constexpr Share kMatchShares[] = {1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1,  1,  1,  1,  1,  1,  1, 1,
                                  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,  1,  1,  1,  1,  1,  1, 1,
                                  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1};
constexpr Share kDistanceShares[] = {1, 1, 1, 1, 1, 1, 2, 2, 2, 1,  1,  1,  1,  1, 1,
                                     1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1};

/// What a code may be like, and which table it has by default.
struct Kind {
    size_t codes;
    unsigned most_log;
    std::span<const Share> shares;
    unsigned log;
};
constexpr Kind kLiteralKind{kLiteralRanges.size(), 9, kLiteralShares, 6};
constexpr Kind kMatchKind{kMatchRanges.size(), 9, kMatchShares, 6};
constexpr Kind kDistanceKind{kDistanceCodes, 8, kDistanceShares, 5};

enum class Mode : uint8_t { kPredefined, kSingle, kDescribed, kRepeat };

Result<> read_table(ByteReader& block, Mode mode, const Kind& kind, FseTable& table, bool& is_set) {
    if (mode == Mode::kRepeat) return is_set ? Result<>() : Errno::kEINVAL;
    is_set = false;
    if (mode == Mode::kPredefined) {
        TRY(table.set(kind.shares, kind.log));
    } else if (mode == Mode::kSingle) {
        const uint8_t code = TRY(block.byte());
        if (code >= kind.codes) return Errno::kEINVAL;
        table.set_single(code);
    } else {
        TRY(block.take(TRY(table.read(block.rest(), kind.most_log, kind.codes))));
    }
    is_set = true;
    return {};
}

Result<uint32_t> read_count(ByteReader& block) {
    const uint8_t first = TRY(block.byte());
    if (first < 128) return first;
    if (first < 255) return ((first - 128u) << 8) + static_cast<uint32_t>(TRY(block.number(1)));
    return 0x7f00u + static_cast<uint32_t>(TRY(block.number(2)));
}

/// RFC 8878, 3.1.1.5: 1 to 3 mean a distance that there was lately, and which one depends on
/// whether there are literals before the match. 0: none can be meant.
[[gnu::always_inline]] inline size_t resolve_distance(size_t value, bool has_literals,
                                                      size_t (&recent)[3]) {
    if (value > 3) {
        recent[2] = recent[1], recent[1] = recent[0];
        return recent[0] = value - 3;
    }
    const size_t which = value - (has_literals ? 1 : 0);
    if (which == 0) return recent[0];
    const size_t distance = which < 3 ? recent[which] : recent[0] - 1;
    if (which != 1) recent[2] = recent[1];
    recent[1] = recent[0];
    return recent[0] = distance;
}

}  // namespace

void Sequences::forget() {
    literals_.is_set = distances_.is_set = matches_.is_set = false;
    recent_[0] = 1, recent_[1] = 4, recent_[2] = 8;
}

Result<> Sequences::read_tables(ByteReader& block) {
    const uint8_t modes = TRY(block.byte());
    if (modes & 3) return Errno::kEINVAL;
    const auto mode = [modes](unsigned shift) { return static_cast<Mode>(modes >> shift & 3); };
    TRY(read_table(block, mode(6), kLiteralKind, literals_.table, literals_.is_set));
    TRY(read_table(block, mode(4), kDistanceKind, distances_.table, distances_.is_set));
    return read_table(block, mode(2), kMatchKind, matches_.table, matches_.is_set);
}

Result<> Sequences::run(ByteReader& block, const Literals& literals, Output& output) {
    const uint32_t count = TRY(read_count(block));
    if (count == 0) {
        if (block.left()) return Errno::kEINVAL;
    } else {
        TRY(read_tables(block));
    }
    return execute(block.rest(), count, literals, output);
}

// One loop with the whole state in locals: that is what makes it fast, and why it is longer than
// other functions. A distance takes up to 31 bits, the lengths 32, the next states 26: a refill()
// before each of the three suffices.
Result<> Sequences::execute(Bytes stream, uint32_t count, const Literals& literals,
                            Output& output) {
    const uint8_t* literal = literals.begin();
    uint8_t* out = output.at;
    if (count) {
        BackwardBits bits = TRY(BackwardBits::open(stream));
        size_t recent[3] = {recent_[0], recent_[1], recent_[2]};
        bits.refill();
        uint32_t literal_state = literals_.table.first_state(bits);
        uint32_t distance_state = distances_.table.first_state(bits);
        uint32_t match_state = matches_.table.first_state(bits);
        for (;;) {
            bits.refill();
            const uint8_t distance_code = distances_.table.symbol(distance_state);
            const size_t value = (size_t{1} << distance_code) + bits.take(distance_code);
            bits.refill();
            const Range& match = kMatchRanges[matches_.table.symbol(match_state)];
            const size_t length = match.base + bits.take(match.extra);
            const Range& run = kLiteralRanges[literals_.table.symbol(literal_state)];
            const size_t literal_length = run.base + bits.take(run.extra);
            if (bits.overrun()) return Errno::kENODATA;

            if (literal_length > static_cast<size_t>(literals.end() - literal))
                return Errno::kEINVAL;
            if (literal_length + length > static_cast<size_t>(output.end - out))
                return Errno::kENOSPC;
            out = copy_run(out, literal, literal_length, output.room_end, literals.readable_end());
            literal += literal_length;
            const size_t distance = resolve_distance(value, literal_length != 0, recent);
            if (distance == 0 || distance > static_cast<size_t>(out - output.begin))
                return Errno::kEINVAL;
            out = copy_match(out, distance, length, output.room_end);

            if (--count == 0) break;
            bits.refill();
            literal_state = literals_.table.next_state(literal_state, bits);
            match_state = matches_.table.next_state(match_state, bits);
            distance_state = distances_.table.next_state(distance_state, bits);
        }
        if (!bits.finished()) return Errno::kEINVAL;
        for (int i = 0; i < 3; ++i) recent_[i] = recent[i];
    }
    const auto left = static_cast<size_t>(literals.end() - literal);
    if (left > static_cast<size_t>(output.end - out)) return Errno::kENOSPC;
    output.at = copy_run(out, literal, left, output.room_end, literals.readable_end());
    return {};
}

}  // namespace hv::boot::zstd

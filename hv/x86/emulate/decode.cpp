#include "hv/x86/emulate/decode.hpp"

#include "hv/x86/emulate/opcode_table.hpp"

namespace hv::emulate {
namespace {

/// Reads little-endian values; running out is remembered, not fatal.
class Reader {
  public:
    explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
    uint8_t byte() { return static_cast<uint8_t>(unsigned_value(1)); }
    uint8_t peek() { return at_ < bytes_.size() ? bytes_[at_] : byte(); }
    int64_t signed_value(unsigned size) {
        unsigned shift = 64 - 8 * size;
        return static_cast<int64_t>(unsigned_value(size) << shift) >> shift;
    }
    uint64_t unsigned_value(unsigned size) {
        if (bytes_.size() - at_ < size) {
            short_ = true;
            return 0;
        }
        uint64_t value = 0;
        for (unsigned i = 0; i < size; ++i) value |= uint64_t{bytes_[at_ + i]} << (8 * i);
        at_ += size;
        return value;
    }
    size_t position() const { return at_; }
    bool ran_out() const { return short_; }

  private:
    std::span<const uint8_t> bytes_;
    size_t at_ = 0;
    bool short_ = false;
};

struct Prefixes {
    bool operand = false;  // 66
    bool address = false;  // 67
    uint8_t rex = 0;
    bool w() const { return rex & 8; }
    uint8_t r() const { return rex & 4 ? 8 : 0; }
    uint8_t x() const { return rex & 2 ? 8 : 0; }
    uint8_t b() const { return rex & 1 ? 8 : 0; }
};

/// True if `byte` is a legacy prefix, which it then notes.
bool legacy_prefix(uint8_t byte, Prefixes& prefixes, Instruction& i) {
    switch (byte) {
        case 0x26:
            i.segment = Segment::kEs;
            break;
        case 0x2e:
            i.segment = Segment::kCs;
            break;
        case 0x36:
            i.segment = Segment::kSs;
            break;
        case 0x3e:
            i.segment = Segment::kDs;
            break;
        case 0x64:
            i.segment = Segment::kFs;
            break;
        case 0x65:
            i.segment = Segment::kGs;
            break;
        case 0x66:
            prefixes.operand = true;
            break;
        case 0x67:
            prefixes.address = true;
            break;
        case 0xf0:
            i.lock = true;
            break;
        case 0xf2:
            i.repne = true, i.rep = false;
            break;  // of the two, the last one counts
        case 0xf3:
            i.rep = true, i.repne = false;
            break;
        default:
            return false;
    }
    return true;
}

/// Prefixes in any order; a REX that is not last has no effect.
void read_prefixes(Reader& in, Mode mode, Prefixes& prefixes, Instruction& i) {
    while (!in.ran_out()) {
        uint8_t byte = in.peek();
        if (mode == Mode::k64 && (byte & 0xf0) == 0x40)
            prefixes.rex = byte;
        else if (legacy_prefix(byte, prefixes, i))
            prefixes.rex = 0;
        else
            return;
        in.byte();
    }
}

void read_sib(Reader& in, const Prefixes& prefixes, Instruction& i) {
    uint8_t sib = in.byte();
    uint8_t index = ((sib >> 3) & 7) | prefixes.x();
    uint8_t base = (sib & 7) | prefixes.b();
    constexpr uint8_t kNoIndex = 4, kNoBase = 5;
    i.scale = static_cast<uint8_t>(1 << (sib >> 6));
    if (index != kNoIndex) i.index = index;
    if ((sib & 7) == kNoBase && i.mod == 0)
        i.displacement = in.signed_value(4);
    else
        i.base = base;
}

void read_modrm(Reader& in, Mode mode, const Prefixes& prefixes, Instruction& i) {
    uint8_t modrm = in.byte();
    i.has_modrm = true;
    i.mod = modrm >> 6;
    i.reg = ((modrm >> 3) & 7) | prefixes.r();
    uint8_t rm = modrm & 7;
    i.rm = rm | prefixes.b();
    if (i.mod == 3) return;

    constexpr uint8_t kSib = 4, kDisplacementOnly = 5;
    i.is_memory = true;
    if (rm == kSib) {
        read_sib(in, prefixes, i);
    } else if (rm == kDisplacementOnly && i.mod == 0) {
        i.displacement = in.signed_value(4);
        if (mode == Mode::k64) i.base = Instruction::kRip;
    } else {
        i.base = i.rm;
    }
    if (i.mod == 1) i.displacement = in.signed_value(1);
    if (i.mod == 2) i.displacement = in.signed_value(4);
}

void read_immediate(Reader& in, uint16_t flags, bool operand16, Instruction& i) {
    bool grouped = (flags & kGroup3) && (i.reg & 7) < 2;
    if (flags & kOffset) i.displacement = static_cast<int64_t>(in.unsigned_value(i.address_size));
    if (flags & kImm16) i.immediate = static_cast<int64_t>(in.unsigned_value(2));
    if (flags & kImmV) i.immediate = in.signed_value(i.operand_size);
    if (flags & kImmZ || (grouped && !(flags & kByte)))
        i.immediate = in.signed_value(operand16 ? 2 : 4);
    if (flags & kImm8 || (grouped && flags & kByte)) i.immediate = in.signed_value(1);
    // ENTER has both a word and a byte; its byte is of no use to anyone here.
    if (flags & kUnsignedImm8) {
        uint64_t value = in.unsigned_value(1);
        if (!(flags & kImm16)) i.immediate = static_cast<int64_t>(value);
    }
}

uint8_t operand_size(uint16_t flags, Mode mode, const Prefixes& prefixes) {
    if (flags & kByte) return 1;
    if (prefixes.w()) return 8;
    if (prefixes.operand) return 2;
    return (flags & kStack64) && mode == Mode::k64 ? 8 : 4;
}

}  // namespace

Result<Instruction> decode(std::span<const uint8_t> bytes, Mode mode) {
    bool cut = bytes.size() > kMaxInstructionBytes;
    Reader in(cut ? bytes.first(kMaxInstructionBytes) : bytes);
    Instruction i;
    Prefixes prefixes;
    read_prefixes(in, mode, prefixes, i);
    i.rex = prefixes.rex;

    i.opcode = in.byte();
    uint16_t flags = kOneByteMap[i.opcode];
    if (i.opcode == 0x0f) {
        i.map = Map::k0F;
        i.opcode = in.byte();
        flags = k0fMap[i.opcode];
    }
    i.address_size = mode == Mode::k64 && !prefixes.address ? 8 : 4;
    i.operand_size = operand_size(flags, mode, prefixes);

    if (!in.ran_out()) {
        if (flags & kInvalid) return Errno::kEINVAL;
        if (flags & kNot64 && mode == Mode::k64) return Errno::kEINVAL;
        if (flags & (kUnknown | kNot64)) return Errno::kEOPNOTSUPP;
        // 16-bit addresses are built from other registers; nobody uses them in what we emulate.
        bool addresses16 = mode == Mode::k32 && prefixes.address;
        if (addresses16 && flags & (kModRm | kOffset)) return Errno::kEOPNOTSUPP;
    }
    if (flags & kModRm) read_modrm(in, mode, prefixes, i);
    read_immediate(in, flags, prefixes.operand && !prefixes.w(), i);

    if (in.ran_out()) return bytes.size() < kMaxInstructionBytes ? Errno::kENODATA : Errno::kEINVAL;
    i.length = static_cast<uint8_t>(in.position());
    return i;
}

}  // namespace hv::emulate

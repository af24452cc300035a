// The executor against the CPU this test runs on: random instances of every instruction that it
// knows are run natively, in a buffer, and emulated; registers, flags and memory must agree.
#include "hv/x86/emulate/execute.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <random>
#include <vector>

#include "hv/x86/cpu/bits.hpp"

namespace {

using namespace hv;
using namespace hv::emulate;

constexpr size_t kCodeBytes = 4096, kArenaBytes = 65536;
constexpr uint64_t kMiddle = kArenaBytes / 2;

/// Code and data below 2 GiB, so that rip-relative, absolute and 32-bit addresses reach the data.
struct Machine {
    uint8_t* code;
    uint8_t* arena;
    Machine() {
        code = static_cast<uint8_t*>(mmap(nullptr, kCodeBytes + kArenaBytes,
                                          PROT_READ | PROT_WRITE | PROT_EXEC,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
        arena = code + kCodeBytes;
    }
    uint64_t arena_address() const { return reinterpret_cast<uint64_t>(arena); }
};
Machine& machine() {
    static Machine m;
    return m;
}

/// Builds "load registers, one instruction, store registers" around the instruction under test.
class Stub {
  public:
    static constexpr size_t kState = 2048;  // offset of the registers: 16, then rflags

    explicit Stub(const std::vector<uint8_t>& instruction) {
        for (int reg : {3, 5, 12, 13, 14, 15}) push(reg);
        emit({0xff, 0x35}), slot(16);  // push [rflags]
        emit({0x9d});                  // popfq
        for (int reg = 0; reg < 16; ++reg)
            if (reg != kRsp) move(0x8b, reg);
        at_instruction = at_;
        emit(instruction);
        for (int reg = 0; reg < 16; ++reg)
            if (reg != kRsp) move(0x89, reg);
        emit({0x9c, 0xfc});            // pushfq; cld
        emit({0x8f, 0x05}), slot(16);  // pop [rflags]
        for (int reg : {15, 14, 13, 12, 5, 3}) pop(reg);
        emit({0xc3});
    }
    size_t at_instruction;

    void run(Registers& regs) {
        auto* state = reinterpret_cast<uint64_t*>(machine().code + kState);
        for (unsigned i = 0; i < 16; ++i) state[i] = gpr(regs, i);
        state[16] = regs.rflags;
        reinterpret_cast<void (*)()>(machine().code)();
        for (unsigned i = 0; i < 16; ++i) gpr(regs, i) = state[i];
        regs.rflags = state[16];
    }

  private:
    void emit(const std::vector<uint8_t>& bytes) {
        memcpy(machine().code + at_, bytes.data(), bytes.size());
        at_ += bytes.size();
    }
    void slot(int index) {
        auto displacement = static_cast<int32_t>(kState + 8 * index - (at_ + 4));
        memcpy(machine().code + at_, &displacement, 4);
        at_ += 4;
    }
    void move(uint8_t opcode, int reg) {
        emit({static_cast<uint8_t>(0x48 | (reg >> 3 << 2)), opcode,
              static_cast<uint8_t>((reg & 7) << 3 | 5)});
        slot(reg);
    }
    void push(int reg) {
        if (reg >= 8) emit({0x41});
        emit({static_cast<uint8_t>(0x50 | (reg & 7))});
    }
    void pop(int reg) {
        if (reg >= 8) emit({0x41});
        emit({static_cast<uint8_t>(0x58 | (reg & 7))});
    }
    size_t at_ = 0;
};

/// Memory for the executor: a copy of the arena.
struct FakeMemory {
    std::vector<uint8_t> bytes;
    unsigned lose = 0;  // this many compare-exchanges fail, as if another CPU had been faster
    uint8_t* at(uint64_t linear, unsigned size) {
        uint64_t offset = linear - machine().arena_address();
        return offset <= bytes.size() - size ? bytes.data() + offset : nullptr;
    }
    Result<uint64_t> read(uint64_t linear, unsigned size) {
        uint64_t value = 0;
        uint8_t* p = at(linear, size);
        if (!p) return Errno::kEFAULT;
        memcpy(&value, p, size);
        return value;
    }
    Result<> write(uint64_t linear, uint64_t value, unsigned size) {
        uint8_t* p = at(linear, size);
        if (!p) return Errno::kEFAULT;
        memcpy(p, &value, size);
        return {};
    }
    Result<bool> compare_exchange(uint64_t linear, uint64_t expected, uint64_t desired,
                                  unsigned size) {
        if (lose) return lose--, false;
        uint64_t now = TRY(read(linear, size));
        if (now != expected) return false;
        TRY(write(linear, desired, size));
        return true;
    }
    uint64_t segment_base(Segment) { return 0; }
};

struct Generator {
    explicit Generator(uint64_t seed) : random(seed) {}
    std::mt19937_64 random;
    uint64_t below(uint64_t n) { return random() % n; }
    bool one_in(uint64_t n) { return below(n) == 0; }
    /// Values at the edges as often as any other.
    uint64_t value() {
        constexpr uint64_t kEdges[] = {0,          1,         0x7f,       0x80,       0xff,
                                       0x7fff,     0x8000,    0xffff,     0x7fffffff, 0x80000000,
                                       0xffffffff, INT64_MAX, 1ull << 63, ~0ull};
        return one_in(3) ? kEdges[below(std::size(kEdges))] : random();
    }
    template <class T>
    T pick(std::initializer_list<T> list) {
        return list.begin()[below(list.size())];
    }
};

struct Case {
    std::vector<uint8_t> bytes;
    Registers regs{};
    uint64_t undefined_flags = 0;
};

struct Form {
    std::vector<uint8_t> byte_opcode, wide_opcode;  // empty: there is none
    int extension = -1;                             // in ModRM.reg; -1: a register
    unsigned immediate = 0;                         // bytes; 4: as the operand, 4 at most
    bool lockable = true;
    uint64_t undefined = 0;
    bool bit_number_in_register = false;
};

std::vector<Form> all_forms() {
    using namespace eflags;
    constexpr uint64_t kAllButCarry = kOf | kSf | kAf | kPf;
    std::vector<Form> forms;
    for (uint8_t op = 0; op < 7; ++op) {
        uint64_t undefined = op == 1 || op == 4 || op == 6 ? kAf : 0;
        auto first = static_cast<uint8_t>(op * 8);
        forms.push_back({{first}, {uint8_t(first + 1)}, -1, 0, true, undefined});
        forms.push_back({{0x80}, {}, op, 1, true, undefined});
        forms.push_back({{}, {0x81}, op, 4, true, undefined});
        forms.push_back({{}, {0x83}, op, 1, true, undefined});
    }
    for (int op : {0, 1}) forms.push_back({{0xfe}, {0xff}, op});
    for (int op : {2, 3}) forms.push_back({{0xf6}, {0xf7}, op});
    forms.push_back({{0x86}, {0x87}});
    forms.push_back({{0x88}, {0x89}, -1, 0, false});
    forms.push_back({{0xc6}, {}, 0, 1, false});
    forms.push_back({{}, {0xc7}, 0, 4, false});
    forms.push_back({{0x0f, 0xb0}, {0x0f, 0xb1}});
    forms.push_back({{0x0f, 0xc0}, {0x0f, 0xc1}});
    for (uint8_t op : {0xab, 0xb3, 0xbb})
        forms.push_back({{}, {0x0f, op}, -1, 0, true, kAllButCarry, true});
    for (int op : {5, 6, 7}) forms.push_back({{}, {0x0f, 0xba}, op, 1, true, kAllButCarry});
    return forms;
}

uint64_t random_flags(Generator& g) {
    return (g.random() & eflags::kArithmetic) | 2 | eflags::kIf;
}

void append(std::vector<uint8_t>& bytes, uint64_t value, unsigned count) {
    for (unsigned i = 0; i < count; ++i) bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

/// A memory operand at `target`: chooses a way of addressing, sets the registers it needs.
struct Operand {
    uint8_t rex = 0;
    std::vector<uint8_t> modrm_and_more;
    bool rip_relative = false;
    bool needs_no_register = false;
    size_t displacement_at = 0;
};

Operand make_operand(Generator& g, Case& c, uint64_t target, unsigned reg, unsigned keep,
                     bool address32) {
    Operand o;
    auto reg_bits = static_cast<uint8_t>((reg & 7) << 3);
    if (reg >= 8) o.rex |= 4;
    auto pick_register = [&](unsigned other) {
        for (;;) {
            auto r = static_cast<unsigned>(g.below(16));
            if (r != kRsp && r != keep && r != other) return r;
        }
    };
    unsigned way = static_cast<unsigned>(g.below(6));
    if (way == 0) {  // rip + disp32
        o.modrm_and_more = {static_cast<uint8_t>(reg_bits | 5)};
        o.rip_relative = o.needs_no_register = true;
        o.displacement_at = 1;
        append(o.modrm_and_more, 0, 4);
        return o;
    }
    if (way == 1) {  // SIB without base and index: an absolute address
        o.modrm_and_more = {static_cast<uint8_t>(reg_bits | 4), 0x25};
        append(o.modrm_and_more, target, 4);
        o.needs_no_register = true;
        return o;
    }
    bool has_index = way >= 4;
    unsigned base = pick_register(~0u), index = pick_register(base);
    uint64_t scale_bits = g.below(4);
    unsigned mod = (base & 7) == 5 ? 1 + g.below(2) : g.below(3);
    int64_t displacement = mod == 0 ? 0 : mod == 1 ? int8_t(g.random()) : int32_t(g.random()) / 2;
    uint64_t address = target - static_cast<uint64_t>(displacement);
    if (has_index) {
        gpr(c.regs, index) = g.value() >> g.below(60);
        address -= gpr(c.regs, index) << scale_bits;
        if (index >= 8) o.rex |= 2;
    }
    gpr(c.regs, base) = address32 ? (address & 0xffffffff) | g.random() << 32 : address;
    if (base >= 8) o.rex |= 1;
    bool needs_sib = has_index || (base & 7) == kRsp;
    o.modrm_and_more = {static_cast<uint8_t>(mod << 6 | reg_bits | (needs_sib ? 4 : base & 7))};
    if (needs_sib)
        o.modrm_and_more.push_back(
            static_cast<uint8_t>(scale_bits << 6 | (has_index ? index & 7 : 4u) << 3 | (base & 7)));
    append(o.modrm_and_more, static_cast<uint64_t>(displacement), mod == 0 ? 0 : mod == 1 ? 1 : 4);
    return o;
}

uint64_t code_end_of(size_t instruction_bytes, size_t at_instruction) {
    return reinterpret_cast<uint64_t>(machine().code) + at_instruction + instruction_bytes;
}

/// Where the instruction will lie does not depend on it, so a first stub tells.
size_t instruction_offset() {
    static size_t at = Stub({0x90}).at_instruction;
    return at;
}

Case make_case(Generator& g, const Form& form) {
    Case c;
    c.undefined_flags = form.undefined;
    for (unsigned i = 0; i < 16; ++i) gpr(c.regs, i) = g.value();
    c.regs.rflags = random_flags(g);

    bool byte = form.wide_opcode.empty() || (!form.byte_opcode.empty() && g.one_in(3));
    unsigned size = byte ? 1 : g.pick({2u, 4u, 8u});
    unsigned reg = form.extension >= 0 ? static_cast<unsigned>(form.extension)
                                       : static_cast<unsigned>(g.below(16));
    if (form.extension < 0 && reg == kRsp) reg = byte ? reg : 0;  // AH or SPL; else the stack
    bool rex_needed = size == 8 || (form.extension < 0 && reg >= 8);
    bool force_rex = rex_needed || g.one_in(4);
    if (byte && form.extension < 0 && reg == kRsp) force_rex = false;  // AH, not SPL

    uint64_t target = machine().arena_address() + kMiddle + g.below(256);
    bool address32 = g.one_in(6);
    unsigned keep = ~0u;
    if (form.bit_number_in_register) {
        if (reg == kRsp) reg = kRbx;
        gpr(c.regs, reg) = static_cast<uint64_t>(static_cast<int64_t>(g.below(200000)) - 100000);
        keep = reg;
    }
    Operand o = make_operand(g, c, target, reg, keep, address32);
    if (byte && form.extension < 0 && reg == kRsp && o.rex) return make_case(g, form);

    bool lock = form.lockable && g.one_in(4);
    if (lock) c.bytes.push_back(0xf0);
    if (address32) c.bytes.push_back(0x67);
    if (size == 2) c.bytes.push_back(0x66);
    if (g.one_in(10)) c.bytes.push_back(0x3e);
    uint8_t rex = o.rex | (size == 8 ? 8 : 0);
    if (rex || force_rex) c.bytes.push_back(0x40 | rex);
    for (uint8_t b : byte ? form.byte_opcode : form.wide_opcode) c.bytes.push_back(b);
    size_t operand_at = c.bytes.size();
    c.bytes.insert(c.bytes.end(), o.modrm_and_more.begin(), o.modrm_and_more.end());
    unsigned immediate = form.immediate == 4 && size == 2 ? 2 : form.immediate;
    append(c.bytes, g.value(), immediate);
    if (o.rip_relative) {
        auto distance =
            static_cast<int32_t>(target - code_end_of(c.bytes.size(), instruction_offset()));
        memcpy(c.bytes.data() + operand_at + o.displacement_at, &distance, 4);
    }
    bool is_cmpxchg = form.wide_opcode == std::vector<uint8_t>{0x0f, 0xb1};
    if (is_cmpxchg && o.needs_no_register && g.one_in(2))  // let it succeed now and then
        memcpy(&c.regs.rax, machine().arena + (target - machine().arena_address()), 8);
    c.regs.rip = code_end_of(0, instruction_offset());
    return c;
}

std::string dump(const Case& c) {
    std::string text;
    char buffer[8];
    for (uint8_t b : c.bytes) snprintf(buffer, sizeof(buffer), "%02x ", b), text += buffer;
    return text;
}

void fill_arena(Generator& g) {
    for (uint64_t i = 0; i < 1024; i += 8) {
        uint64_t v = g.value();
        memcpy(machine().arena + kMiddle - 256 + i, &v, 8);
    }
}

/// Emulates `c` on a copy of the arena, then runs it, and compares.
void compare(Case& c, unsigned lose = 0) {
    FakeMemory memory{{machine().arena, machine().arena + kArenaBytes}, lose};
    Registers emulated = c.regs, native = c.regs;
    auto instruction = decode(c.bytes, Mode::k64);
    ASSERT_TRUE(instruction.ok()) << dump(c);
    ASSERT_EQ(instruction->length, c.bytes.size()) << dump(c);
    for (unsigned rounds = 0;; ++rounds) {
        ASSERT_LT(rounds, 1000u) << dump(c);
        auto progress = execute(*instruction, emulated, memory);
        ASSERT_TRUE(progress.ok()) << dump(c) << " error " << int(progress.error());
        if (*progress == Progress::kDone) break;
        ASSERT_EQ(emulated.rip, c.regs.rip) << dump(c);
    }
    Stub(c.bytes).run(native);
    native.rip = c.regs.rip + c.bytes.size();

    for (unsigned i = 0; i < 16; ++i)
        ASSERT_EQ(gpr(emulated, i), gpr(native, i)) << dump(c) << "register " << i;
    ASSERT_EQ(emulated.rip, native.rip) << dump(c);
    uint64_t flags = (eflags::kArithmetic | eflags::kDf) & ~c.undefined_flags;
    ASSERT_EQ(emulated.rflags & flags, native.rflags & flags) << dump(c);
    ASSERT_EQ(memcmp(memory.bytes.data(), machine().arena, kArenaBytes), 0) << dump(c);
}

TEST(Emulate, AgreesWithTheCpu) {
    Generator g(1);
    auto forms = all_forms();
    for (int round = 0; round < 150; ++round) {
        for (const Form& form : forms) {
            fill_arena(g);
            Case c = make_case(g, form);
            compare(c);
            if (HasFatalFailure()) return;
        }
    }
}

TEST(Emulate, LosingACompareExchangeOnlyRepeatsIt) {
    Generator g(2);
    auto forms = all_forms();
    for (int round = 0; round < 20; ++round) {
        for (const Form& form : forms) {
            fill_arena(g);
            Case c = make_case(g, form);
            compare(c, 1 + static_cast<unsigned>(g.below(3 * kMaxTries)));
            if (HasFatalFailure()) return;
        }
    }
}

TEST(Emulate, StringInstructionsAgreeWithTheCpu) {
    Generator g(3);
    for (int round = 0; round < 1000; ++round) {
        Case c;
        for (unsigned i = 0; i < 16; ++i) gpr(c.regs, i) = g.value();
        c.regs.rflags = random_flags(g) | (g.one_in(2) ? eflags::kDf : 0);
        c.regs.rdi = machine().arena_address() + kMiddle + g.below(64);
        c.regs.rsi = machine().arena_address() + kMiddle + g.below(64);
        c.regs.rcx = g.below(200);
        bool address32 = g.one_in(4);
        if (address32) {
            c.bytes.push_back(0x67);
            c.regs.rdi |= g.random() << 32;
            c.regs.rsi |= g.random() << 32;
            c.regs.rcx |= g.random() << 32;
        }
        if (g.one_in(2)) c.bytes.push_back(g.pick<uint8_t>({0xf2, 0xf3}));
        unsigned size = g.pick({1u, 2u, 4u, 8u});
        if (size == 2) c.bytes.push_back(0x66);
        if (size == 8) c.bytes.push_back(0x48);
        c.bytes.push_back(static_cast<uint8_t>(g.pick<int>({0xa4, 0xaa}) + (size > 1)));
        c.regs.rip = code_end_of(0, instruction_offset());
        fill_arena(g);
        compare(c);
        if (HasFatalFailure()) return;
    }
}

TEST(Emulate, AccumulatorStoresAgreeWithTheCpu) {
    Generator g(4);
    for (int round = 0; round < 200; ++round) {
        Case c;
        for (unsigned i = 0; i < 16; ++i) gpr(c.regs, i) = g.value();
        c.regs.rflags = random_flags(g);
        unsigned size = g.pick({1u, 2u, 4u, 8u});
        if (size == 2) c.bytes.push_back(0x66);
        if (size == 8) c.bytes.push_back(0x48);
        c.bytes.push_back(size == 1 ? 0xa2 : 0xa3);
        append(c.bytes, machine().arena_address() + kMiddle + g.below(64), 8);
        c.regs.rip = code_end_of(0, instruction_offset());
        compare(c);
        if (HasFatalFailure()) return;
    }
}

Result<Progress> run(std::vector<uint8_t> bytes, Registers& regs, FakeMemory& memory) {
    return execute(TRY(decode(bytes, Mode::k64)), regs, memory);
}

TEST(Emulate, RefusesWhatDoesNotWriteMemory) {
    FakeMemory memory{std::vector<uint8_t>(kArenaBytes)};
    Registers regs{};
    regs.rdi = machine().arena_address();
    Registers before = regs;
    // add %rax,%rcx; mov (%rdi),%rax; cmp %rax,(%rdi); nop; test; call *(%rdi)
    for (auto bytes : std::vector<std::vector<uint8_t>>{{0x48, 0x01, 0xc1},
                                                        {0x48, 0x8b, 0x07},
                                                        {0x48, 0x39, 0x07},
                                                        {0x90},
                                                        {0x84, 0x07},
                                                        {0xff, 0x17}}) {
        EXPECT_EQ(run(bytes, regs, memory).error(), Errno::kEOPNOTSUPP);
        EXPECT_EQ(memcmp(&regs, &before, sizeof(regs)), 0);
    }
    // lock mov %rax,(%rdi) is #UD
    EXPECT_EQ(run({0xf0, 0x48, 0x89, 0x07}, regs, memory).error(), Errno::kEINVAL);
}

TEST(Emulate, AFaultLeavesRegistersAlone) {
    FakeMemory memory{std::vector<uint8_t>(kArenaBytes)};
    Registers regs{};
    regs.rax = 5;
    regs.rdi = 16;  // not in the arena
    Registers before = regs;
    for (auto bytes : std::vector<std::vector<uint8_t>>{
             {0x48, 0x89, 0x07}, {0x48, 0x87, 0x07}, {0x48, 0x0f, 0xc1, 0x07}, {0x48, 0xab}}) {
        EXPECT_EQ(run(bytes, regs, memory).error(), Errno::kEFAULT);
        EXPECT_EQ(memcmp(&regs, &before, sizeof(regs)), 0);
    }
}

TEST(Emulate, AStringThatFaultsInTheMiddleResumesThere) {
    FakeMemory memory{std::vector<uint8_t>(kArenaBytes)};
    Registers regs{};
    regs.rip = 0x1000;
    regs.rcx = 10;
    regs.rax = 0x1122334455667788;
    regs.rdi = machine().arena_address() + kArenaBytes - 3 * 8;  // room for three
    EXPECT_EQ(*run({0xf3, 0x48, 0xab}, regs, memory), Progress::kAgain);
    EXPECT_EQ(regs.rcx, 7u);
    EXPECT_EQ(run({0xf3, 0x48, 0xab}, regs, memory).error(), Errno::kEFAULT);
    EXPECT_EQ(regs.rcx, 7u);
    EXPECT_EQ(regs.rdi, machine().arena_address() + kArenaBytes);
    EXPECT_EQ(regs.rip, 0x1000u);
}

TEST(Emulate, SegmentBaseCountsForFsAndGsOnly) {
    struct WithBase : FakeMemory {
        uint64_t segment_base(Segment s) {
            return s == Segment::kGs ? machine().arena_address() + 0x100 : 0;
        }
    } memory;
    memory.bytes.resize(kArenaBytes);
    Registers regs{};
    regs.rax = 0x42;
    regs.rdi = 8;
    auto bytes = std::vector<uint8_t>{0x65, 0x48, 0x89, 0x07};  // mov %rax,%gs:(%rdi)
    auto i = decode(bytes, Mode::k64);
    ASSERT_TRUE(i.ok());
    EXPECT_TRUE(execute(*i, regs, memory).ok());
    EXPECT_EQ(memory.bytes[0x108], 0x42);
}

}  // namespace

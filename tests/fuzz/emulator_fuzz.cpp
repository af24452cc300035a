// The instruction decoder, the executor beneath it, and the three that use them on a guest's code:
// writes to page tables, writes to device pages, privileged instructions.
#include <cstdio>

#include "fake/pv_machine.hpp"
#include "hv/x86/cpu/bits.hpp"
#include "hv/x86/emulate/execute.hpp"
#include "hv/x86/pv/privileged.hpp"
#include "hv/x86/pv/pte_write.hpp"
#include "input.hpp"

namespace {

using namespace hv;
using namespace hv::emulate;
using fuzz::Input;

constexpr uint64_t kCode = 0xffffffff81001000, kTable = 0xffff888000123000;

arch::Registers take_registers(Input& in) {
    arch::Registers regs{};
    // Mostly addresses that lead somewhere: the table's page, or the code's.
    for (unsigned n = 0; n < 16; ++n) {
        const uint8_t kind = in.byte();
        const uint64_t at = in.take<uint16_t>() % (2 * kPageSize);
        gpr(regs, n) = kind < 128   ? kTable + at
                       : kind < 160 ? kCode + at
                       : kind < 224 ? at
                                    : in.take<uint64_t>();
    }
    regs.rflags = in.take<uint16_t>() | eflags::kIf | 2;
    regs.cs = 0xe033;
    regs.rip = kCode;
    return regs;
}

/// What it says of itself must be so, whatever the bytes are.
void check_decoding(std::span<const uint8_t> bytes, Mode mode) {
    const auto i = decode(bytes, mode);
    if (!i) return;
    FUZZ_CHECK(i->length > 0 && i->length <= kMaxInstructionBytes && i->length <= bytes.size());
    FUZZ_CHECK(i->operand_size <= 8 && (i->operand_size & (i->operand_size - 1)) == 0);
    FUZZ_CHECK(i->base == Instruction::kNoRegister || i->base == Instruction::kRip || i->base < 16);
    FUZZ_CHECK(i->index == Instruction::kNoRegister || i->index < 16);
    const auto exact = decode(bytes.first(i->length), mode);
    FUZZ_CHECK(exact && exact->length == i->length && exact->opcode == i->opcode);
    const auto shorter = decode(bytes.first(i->length - 1u), mode);
    FUZZ_CHECK(!shorter && shorter.error() == Errno::kENODATA);
}

struct Memory {
    uint8_t bytes[2 * kPageSize] = {};
    unsigned writes = 0;

    uint8_t* at(uint64_t linear, unsigned size) {
        const uint64_t offset = linear - kTable;
        return offset <= sizeof bytes - size ? bytes + offset : nullptr;
    }
    Result<uint64_t> read(uint64_t linear, unsigned size) {
        uint64_t value = 0;
        const uint8_t* p = at(linear, size);
        if (!p) return Errno::kEFAULT;
        memcpy(&value, p, size);
        return value;
    }
    Result<> write(uint64_t linear, uint64_t value, unsigned size) {
        uint8_t* p = at(linear, size);
        if (!p) return Errno::kEFAULT;
        ++writes;
        memcpy(p, &value, size);
        return {};
    }
    Result<bool> compare_exchange(uint64_t linear, uint64_t expected, uint64_t wanted,
                                  unsigned size) {
        const uint64_t now = TRY(read(linear, size));
        if (now != (expected & size_mask(size))) return false;
        TRY(write(linear, wanted, size));
        return true;
    }
    uint64_t segment_base(Segment) { return 0; }
};

void check_execution(std::span<const uint8_t> bytes, arch::Registers regs) {
    const auto i = decode(bytes, Mode::k64);
    if (!i) return;
    Memory memory;
    const uint64_t rip = regs.rip;
    const auto progress = execute(*i, regs, memory);
    FUZZ_CHECK(memory.writes <= kMaxElements);
    if (progress && *progress == Progress::kDone)
        FUZZ_CHECK(regs.rip == rip + i->length);
    else
        FUZZ_CHECK(regs.rip == rip);
}

void put_code(PvMachine& machine, std::span<const uint8_t> bytes) {
    machine.map(kCode);
    machine.map(kTable);
    machine.map(kTable + kPageSize);
    machine.table_page = kTable;
    machine.put(kCode, std::vector<uint8_t>(bytes.begin(), bytes.end()));
}

void check_table_write(std::span<const uint8_t> bytes, arch::Registers regs, uint64_t cr2) {
    // The bases of FS and GS would be read from this processor's registers.
    for (const uint8_t byte : bytes)
        if (byte == 0x64 || byte == 0x65) return;
    PvMachine machine;
    put_code(machine, bytes);
    const arch::Registers before = regs;
    const bool done = pv::emulate_pte_write(regs, cr2);
    FUZZ_CHECK(regs.cs == before.cs && (regs.rflags & eflags::kIf));
    if (!done) FUZZ_CHECK(regs.rip == before.rip && machine.table_writes.empty());
    for (const uint64_t address : machine.table_writes)
        FUZZ_CHECK(address % 8 == 0 && address / kPageSize == kTable / kPageSize);
}

void check_privileged(std::span<const uint8_t> bytes, arch::Registers regs, bool invalid_opcode) {
    PvMachine machine;
    put_code(machine, bytes);
    const arch::Registers before = regs;
    const bool done =
        invalid_opcode ? pv::emulate_invalid_opcode(regs) : pv::emulate_privileged(regs);
    FUZZ_CHECK(regs.cs == before.cs && (regs.rflags & eflags::kIf));
    if (!done) FUZZ_CHECK(memcmp(&regs, &before, sizeof regs) == 0);
    FUZZ_CHECK(regs.rip - before.rip <= kMaxInstructionBytes + 5);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input in(data, size);
    const uint8_t what = in.byte();
    const auto code = in.bytes(in.byte() % 20);
    const arch::Registers regs = take_registers(in);
    check_decoding(code, what & 1 ? Mode::k64 : Mode::k32);
    check_execution(code, regs);
    check_table_write(code, regs, kTable + in.take<uint16_t>() % kPageSize);
    check_privileged(code, regs, what & 2);
    return 0;
}

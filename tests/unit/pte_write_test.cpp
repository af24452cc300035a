// Emulated writes to page tables: whole entries and parts of them, atomic ones, and what is no
// business of the emulation.
#include "hv/x86/pv/pte_write.hpp"

#include <gtest/gtest.h>

#include "fake/pv_machine.hpp"
#include "hv/x86/cpu/bits.hpp"

namespace {

using namespace hv;
using Bytes = std::vector<uint8_t>;

constexpr uint64_t kCode = 0xffffffff81001000, kTable = 0xffff888000123000;

class PteWrite : public testing::Test {
  protected:
    PvMachine machine;
    arch::Registers regs{};

    void SetUp() override {
        machine.map(kCode);
        machine.map(kTable);
        machine.table_page = kTable;
        regs.cs = 0xe033;
        regs.rip = kCode;
        regs.rdi = kTable + 0x18;
        set(kTable + 0x18, 0x8000000012345067);
    }
    void set(uint64_t linear, uint64_t value) { memcpy(machine.at(linear), &value, 8); }
    uint64_t get(uint64_t linear) {
        uint64_t value;
        memcpy(&value, machine.at(linear), 8);
        return value;
    }
    bool run(const Bytes& bytes) {
        machine.put(regs.rip, bytes);
        return pv::emulate_pte_write(regs, regs.rdi);
    }
};

TEST_F(PteWrite, Store) {
    regs.rax = 0x1111000067;
    EXPECT_TRUE(run({0x48, 0x89, 0x07}));
    EXPECT_EQ(get(kTable + 0x18), 0x1111000067u);
    EXPECT_EQ(regs.rip, kCode + 3);
    EXPECT_EQ(machine.table_writes, std::vector<uint64_t>{kTable + 0x18});
}

// lock andb $0xfd,(%rdi): ptep_set_wrprotect
TEST_F(PteWrite, ByteWithinAnEntry) {
    EXPECT_TRUE(run({0xf0, 0x80, 0x27, 0xfd}));
    EXPECT_EQ(get(kTable + 0x18), 0x8000000012345065u);
    // lock btr $63 by way of its byte: andb $0x7f,7(%rdi)
    EXPECT_TRUE(run({0x80, 0x67, 0x07, 0x7f}));
    EXPECT_EQ(get(kTable + 0x18), 0x0000000012345065u);
}

// Found by the fuzzer: the fault that the guest is told of must be that of the element in question.
TEST_F(PteWrite, RepeatedStoreBeyondTheTable) {
    regs.rdi = kTable + kPageSize - 16;
    regs.rcx = 3;
    EXPECT_TRUE(run({0xf3, 0x48, 0xab}));  // rep stosq
    EXPECT_EQ(machine.table_writes.size(), 2u);
    EXPECT_EQ(regs.rdi, kTable + kPageSize);
    EXPECT_EQ(regs.rcx, 1u);
    EXPECT_EQ(regs.rip, kCode);
    EXPECT_FALSE(run({0xf3, 0x48, 0xab}));  // no table, no emulation
}

TEST_F(PteWrite, StoreOfAHalfKeepsTheOther) {
    regs.rax = 0xaaaaaaaa;
    EXPECT_TRUE(run({0x89, 0x07}));
    EXPECT_EQ(get(kTable + 0x18), 0x80000000aaaaaaaau);
    EXPECT_TRUE(run({0x89, 0x47, 0x04}));
    EXPECT_EQ(get(kTable + 0x18), 0xaaaaaaaaaaaaaaaau);
}

TEST_F(PteWrite, ExchangeAndCompareExchange) {
    regs.rax = 0;
    EXPECT_TRUE(run({0x48, 0x87, 0x07}));
    EXPECT_EQ(regs.rax, 0x8000000012345067u);
    EXPECT_EQ(get(kTable + 0x18), 0u);

    regs.rax = 0, regs.rcx = 0x55;
    EXPECT_TRUE(run({0xf0, 0x48, 0x0f, 0xb1, 0x0f}));
    EXPECT_EQ(get(kTable + 0x18), 0x55u);
    EXPECT_TRUE(regs.rflags & eflags::kZf);
    EXPECT_TRUE(run({0xf0, 0x48, 0x0f, 0xb1, 0x0f}));
    EXPECT_FALSE(regs.rflags & eflags::kZf);
    EXPECT_EQ(regs.rax, 0x55u);
}

TEST_F(PteWrite, BitOfAnEntry) {
    EXPECT_TRUE(run({0xf0, 0x48, 0x0f, 0xba, 0x37, 0x06}));  // lock btrq $6,(%rdi)
    EXPECT_EQ(get(kTable + 0x18), 0x8000000012345027u);
    EXPECT_TRUE(regs.rflags & eflags::kCf);
}

TEST_F(PteWrite, ClearingManyEntries) {
    regs.rdi = kTable;
    regs.rcx = 512;
    regs.rax = 0;
    for (int rounds = 0; regs.rip == kCode; ++rounds) {
        ASSERT_LT(rounds, 100);
        ASSERT_TRUE(run({0xf3, 0x48, 0xab}));
    }
    EXPECT_EQ(regs.rcx, 0u);
    EXPECT_EQ(machine.table_writes.size(), 512u);
}

TEST_F(PteWrite, ARaceThatIsLostIsRunAgain) {
    machine.lose_writes = 3;
    EXPECT_TRUE(run({0xf0, 0x80, 0x27, 0xfd}));
    EXPECT_EQ(regs.rip, kCode + 4);
    machine.lose_writes = 1000;
    EXPECT_TRUE(run({0xf0, 0x80, 0x27, 0xfd}));
    EXPECT_EQ(regs.rip, kCode + 4);  // back to the guest, which tries once more
    EXPECT_TRUE(run({0xc6, 0x07, 0x01}));
    EXPECT_EQ(regs.rip, kCode + 4);
}

TEST_F(PteWrite, RefusedEntriesGiveTheGuestItsFault) {
    machine.refuse_entries = true;
    arch::Registers before = regs;
    EXPECT_FALSE(run({0x48, 0x89, 0x07}));
    EXPECT_FALSE(run({0xf0, 0x80, 0x27, 0xfd}));
    EXPECT_EQ(memcmp(&regs, &before, sizeof(regs)), 0);
    EXPECT_EQ(get(kTable + 0x18), 0x8000000012345067u);
}

TEST_F(PteWrite, AWriteAcrossTwoEntriesIsRefused) {
    regs.rdi = kTable + 0x1c;
    EXPECT_FALSE(run({0x48, 0x89, 0x07}));
    EXPECT_TRUE(machine.table_writes.empty());
}

TEST_F(PteWrite, OtherPagesAndOtherCodeAreNotOurs) {
    regs.rdi = kCode + 0x100;
    EXPECT_FALSE(run({0x48, 0x89, 0x07}));
    regs.rdi = kTable;
    EXPECT_FALSE(run({0x0f, 0x11, 0x07}));  // movups %xmm0,(%rdi)
    regs.cs = 0x23;
    EXPECT_FALSE(run({0x48, 0x89, 0x07}));
}

TEST_F(PteWrite, AnInstructionAcrossPagesAndOneThatVanished) {
    regs.rip = kCode + kPageSize - 2;
    machine.put(regs.rip, {0x48, 0x89});
    EXPECT_TRUE(pv::emulate_pte_write(regs, kTable));  // runs again, and faults by itself
    EXPECT_EQ(regs.rip, kCode + kPageSize - 2);
    machine.map(kCode + kPageSize);
    EXPECT_TRUE(run({0x48, 0x89, 0x07}));
    EXPECT_EQ(regs.rip, kCode + kPageSize + 1);
}

TEST_F(PteWrite, SingleStepFollows) {
    regs.rflags |= eflags::kTf;
    EXPECT_TRUE(run({0x48, 0x89, 0x07}));
    ASSERT_EQ(machine.traps.size(), 1u);
    EXPECT_EQ(machine.traps[0].vector, 1);
}

}  // namespace

// The decoder: fields of chosen encodings, lengths, and what happens to bytes that are no
// instruction or not all of one.
#include "hv/x86/emulate/decode.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace {

using namespace hv;
using namespace hv::emulate;
using Bytes = std::vector<uint8_t>;

Instruction decoded(const Bytes& bytes, Mode mode = Mode::k64) {
    auto i = decode(bytes, mode);
    EXPECT_TRUE(i.ok()) << "error " << int(i.error());
    return i.ok() ? *i : Instruction{};
}

TEST(Decode, RegisterIndirectStore) {
    Instruction i = decoded({0x48, 0x89, 0x07});  // mov %rax,(%rdi)
    EXPECT_TRUE(i.is(Map::kOneByte, 0x89));
    EXPECT_EQ(i.length, 3);
    EXPECT_EQ(i.operand_size, 8);
    EXPECT_EQ(i.address_size, 8);
    EXPECT_TRUE(i.is_memory);
    EXPECT_EQ(i.base, 7);
    EXPECT_EQ(i.index, Instruction::kNoRegister);
    EXPECT_EQ(i.reg, 0);
}

TEST(Decode, LockAndByteOperand) {
    // lock andb $0xfd,0x8(%r12,%r13,4), as in ptep_set_wrprotect
    Instruction i = decoded({0xf0, 0x43, 0x80, 0x64, 0xac, 0x08, 0xfd});
    EXPECT_TRUE(i.lock);
    EXPECT_EQ(i.operand_size, 1);
    EXPECT_EQ(i.base, 12);
    EXPECT_EQ(i.index, 13);
    EXPECT_EQ(i.scale, 4);
    EXPECT_EQ(i.displacement, 8);
    EXPECT_EQ(i.immediate, -3);
    EXPECT_EQ(i.reg & 7, 4);
    EXPECT_EQ(i.length, 7);
}

TEST(Decode, RipRelativeIsFromTheNextInstruction) {
    Instruction i = decoded({0xc7, 0x05, 0x10, 0, 0, 0, 0x78, 0x56, 0x34, 0x12});
    EXPECT_EQ(i.base, Instruction::kRip);
    EXPECT_EQ(i.displacement, 0x10);
    EXPECT_EQ(i.immediate, 0x12345678);
    EXPECT_EQ(i.length, 10);
}

TEST(Decode, AddressWithoutBaseIn32BitModeIsAbsolute) {
    Instruction i = decoded({0x89, 0x05, 0x00, 0x10, 0, 0x80}, Mode::k32);
    EXPECT_EQ(i.base, Instruction::kNoRegister);
    EXPECT_EQ(static_cast<uint32_t>(i.displacement), 0x80001000u);
    EXPECT_EQ(i.address_size, 4);
}

TEST(Decode, SibWithoutBase) {
    Instruction i = decoded({0x48, 0x89, 0x04, 0xcd, 0x78, 0x56, 0x34, 0x12});
    EXPECT_EQ(i.base, Instruction::kNoRegister);
    EXPECT_EQ(i.index, 1);
    EXPECT_EQ(i.scale, 8);
    EXPECT_EQ(i.displacement, 0x12345678);
}

TEST(Decode, RexCountsOnlyInFrontOfTheOpcode) {
    EXPECT_EQ(decoded({0x48, 0x66, 0x89, 0x07}).operand_size, 2);
    EXPECT_EQ(decoded({0x66, 0x48, 0x89, 0x07}).operand_size, 8);
}

TEST(Decode, LongImmediateAndOffset) {
    Instruction i = decoded({0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8});
    EXPECT_EQ(i.immediate, 0x0807060504030201);
    EXPECT_EQ(i.length, 10);
    EXPECT_EQ(decoded({0xa3, 1, 2, 3, 4, 5, 6, 7, 8}).displacement, 0x0807060504030201);
    EXPECT_EQ(decoded({0x67, 0xa3, 1, 2, 3, 0x84}).displacement, 0x84030201);
}

TEST(Decode, GroupThreeHasAnImmediateOnlyForTest) {
    EXPECT_EQ(decoded({0xf6, 0x07, 0x01}).length, 3);        // testb
    EXPECT_EQ(decoded({0xf7, 0x07, 1, 0, 0, 0}).length, 6);  // testl
    EXPECT_EQ(decoded({0x66, 0xf7, 0x07, 1, 0}).length, 5);  // testw
    EXPECT_EQ(decoded({0xf7, 0x17}).length, 2);              // notl
}

TEST(Decode, OfTwoRepeatPrefixesTheLastCounts) {
    EXPECT_TRUE(decoded({0xf2, 0xf3, 0xab}).rep);
    EXPECT_FALSE(decoded({0xf2, 0xf3, 0xab}).repne);
    EXPECT_TRUE(decoded({0xf3, 0xf2, 0xab}).repne);
}

TEST(Decode, EveryBeginningOfAnInstructionWantsMoreBytes) {
    for (const Bytes& whole : {Bytes{0xf0, 0x43, 0x80, 0x64, 0xac, 0x08, 0xfd},
                               Bytes{0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8},
                               Bytes{0x0f, 0xba, 0x2f, 0x06}, Bytes{0x66, 0xc7, 0x07, 1, 2}}) {
        for (size_t n = 0; n < whole.size(); ++n)
            EXPECT_EQ(decode({whole.data(), n}, Mode::k64).error(), Errno::kENODATA) << n;
    }
}

TEST(Decode, MoreThanFifteenBytesIsNoInstruction) {
    Bytes bytes(14, 0x66);
    bytes.push_back(0x90);
    EXPECT_EQ(decoded(bytes).length, 15);
    bytes.insert(bytes.begin(), 0x66);
    EXPECT_EQ(decode(bytes, Mode::k64).error(), Errno::kEINVAL);
}

TEST(Decode, InvalidAndUnknownOpcodes) {
    EXPECT_EQ(decode(Bytes{0x06}, Mode::k64).error(), Errno::kEINVAL);  // push %es
    EXPECT_EQ(decode(Bytes{0x0f, 0x04}, Mode::k64).error(), Errno::kEINVAL);
    EXPECT_EQ(decode(Bytes{0x0f, 0x38, 0, 0}, Mode::k64).error(), Errno::kEOPNOTSUPP);
    EXPECT_EQ(decode(Bytes{0xc5, 0xf8, 0x77}, Mode::k64).error(), Errno::kEOPNOTSUPP);  // VEX
    EXPECT_EQ(decode(Bytes{0x67, 0x89, 0x07}, Mode::k32).error(), Errno::kEOPNOTSUPP);
}

// Whatever a guest puts there: no access beyond the bytes (the sanitizers watch), and a length
// that lies within them.
TEST(Decode, AnyBytesAreSafe) {
    std::mt19937_64 random(1);
    for (int round = 0; round < 200000; ++round) {
        Bytes bytes(random() % 20);
        for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
        Mode mode = random() % 4 ? Mode::k64 : Mode::k32;
        auto i = decode(bytes, mode);
        if (!i.ok()) continue;
        ASSERT_GT(i->length, 0);
        ASSERT_LE(i->length, bytes.size());
        ASSERT_LE(i->length, kMaxInstructionBytes);
        // Deterministic, and not dependent on what follows.
        auto again = decode({bytes.data(), i->length}, mode);
        ASSERT_TRUE(again.ok());
        ASSERT_EQ(again->length, i->length);
    }
}

}  // namespace

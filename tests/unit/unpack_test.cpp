// gzip, zstd and lz4 against the real tools: what these pack is unpacked, and what is cut off,
// damaged or made up is an error that stays within its buffers (AddressSanitizer watches).
// XZ has its own file.
#include "hv/x86/boot/unpack/unpack.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>

#include "boot_fakes.hpp"
#include "hv/x86/boot/unpack/crc32.hpp"
#include "hv/x86/boot/unpack/zstd/xxh64.hpp"
#include "packers.hpp"

namespace {

using hv::Errno;
using hv::boot::Packing;
using packers::Data;
using packers::mixed;
using packers::pack;
using packers::random_bytes;

struct Way {
    Packing packing;
    const char* command;
    bool has_checksum;
};

Errno unpack(Packing packing, const Data& packed, Data& output) {
    return hv::boot::unpack(packing, packed, output).error();
}

class Unpack : public testing::TestWithParam<Way> {
  protected:
    void SetUp() override {
        if (pack({1, 2, 3}, GetParam().command).empty())
            GTEST_SKIP() << "not installed: " << GetParam().command;
    }
    void TearDown() override {
        fake::take_log();
        EXPECT_EQ(fake::heap_objects, 0u);
    }

    static Data packed(const Data& data) { return pack(data, GetParam().command); }
    static Errno unpack(const Data& bytes, Data& output) {
        return ::unpack(GetParam().packing, bytes, output);
    }
    static void round_trip(const Data& data) {
        Data output(data.size());
        EXPECT_EQ(unpack(packed(data), output), Errno{}) << data.size() << fake::take_log();
        EXPECT_TRUE(output == data) << data.size();
    }
};

TEST_P(Unpack, AllKindsOfData) {
    round_trip(mixed(1'500'000, 1));
    round_trip(random_bytes(300'000, 2));
    round_trip(Data(500'000, 'x'));
    Data few(400'000);  // hardly any repeats, few kinds of bytes: nothing but prefix codes
    std::mt19937 random(3);
    for (auto& byte : few) byte = static_cast<uint8_t>(random() % 7 * (random() % 9));
    round_trip(few);
}

TEST_P(Unpack, SizesAroundTheEdges) {
    for (size_t size : {1,   2,   3,   4,    5,    8,     12,    13,    16,     17,     100,
                        255, 256, 257, 1023, 1024, 65535, 65536, 65537, 131071, 131072, 131073})
        round_trip(mixed(size, static_cast<unsigned>(size)));
}

TEST_P(Unpack, EveryTruncationIsAnError) {
    const Data data = mixed(3'000, 8);
    const Data whole = packed(data);
    for (size_t size = 0; size < whole.size(); ++size) {
        const Data cut(whole.begin(), whole.begin() + static_cast<long>(size));
        Data output(data.size());
        EXPECT_NE(unpack(cut, output), Errno{}) << size;
    }
    EXPECT_NE(fake::take_log().find("truncated"), std::string::npos);
}

TEST_P(Unpack, EveryFlippedBitIsAnError) {
    const Data data = mixed(2'000, 9);
    const Data whole = packed(data);
    for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
        Data broken = whole;
        broken[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
        Data output(data.size());
        const Errno error = unpack(broken, output);
        // Some bits of headers mean nothing here, such as a time or a window's size.
        EXPECT_TRUE(!GetParam().has_checksum || error != Errno{} || output == data) << bit;
    }
}

TEST_P(Unpack, GarbageNeverLeavesTheBuffers) {
    const Data data = mixed(60'000, 10);
    const Data whole = packed(data);
    std::mt19937 random(11);
    for (int round = 0; round < 300; ++round) {
        Data broken = whole;
        for (int i = 0; i < 4; ++i)
            broken[4 + random() % (broken.size() - 4)] = static_cast<uint8_t>(random());
        Data output(data.size() - random() % 100);
        (void)unpack(broken, output);
        Data noise = random_bytes(1 + random() % 600, static_cast<unsigned>(round));
        std::copy_n(whole.begin(), std::min<size_t>(noise.size(), random() % 24), noise.begin());
        (void)unpack(noise, output);
    }
}

TEST_P(Unpack, WrongOutputSize) {
    const Data whole = packed(mixed(5'000, 12));
    Data small(4'999), large(5'001);
    EXPECT_EQ(unpack(whole, small), Errno::kENOSPC);
    EXPECT_EQ(unpack(whole, large), Errno::kE2BIG);
    EXPECT_NE(fake::take_log().find("another size"), std::string::npos);
}

TEST_P(Unpack, WithoutMemory) {
    const Data data = mixed(5'000, 13);
    const Data whole = packed(data);
    Data output(data.size());
    fake::heap_empty = true;
    const Errno error = unpack(whole, output);
    fake::heap_empty = false;
    EXPECT_EQ(error, GetParam().packing == Packing::kLz4 ? Errno{} : Errno::kENOMEM);
}

INSTANTIATE_TEST_SUITE_P(Tools, Unpack,
                         testing::Values(Way{Packing::kGzip, "gzip -n -9", true},
                                         Way{Packing::kGzip, "gzip -1", true},
                                         Way{Packing::kZstd, "zstd -q -19", true},
                                         Way{Packing::kZstd, "zstd -q -1 --no-check", false},
                                         Way{Packing::kZstd, "zstd -q --fast=50", true},
                                         Way{Packing::kLz4, "lz4 -q -l -9", false},
                                         Way{Packing::kLz4, "lz4 -q -l -1", false}));

void append(Data& to, const Data& more) {
    to.insert(to.end(), more.begin(), more.end());
}

TEST(Gzip, OptionalFieldsOfTheHeader) {
    const Data data = mixed(1'000, 20);
    Data plain = pack(data, "gzip -n");
    ASSERT_FALSE(plain.empty());
    Data file(plain.begin(), plain.begin() + 10);
    file[3] = 0x02 | 0x04 | 0x08 | 0x10;  // checksum, extra field, name, comment
    append(file, {3, 0, 'a', 'b', 'c', 'n', 0, 'c', 'o', 0});
    const uint32_t crc = hv::boot::crc32(file);
    append(file, {static_cast<uint8_t>(crc), static_cast<uint8_t>(crc >> 8)});
    append(file, Data(plain.begin() + 10, plain.end()));
    Data output(data.size());
    EXPECT_EQ(unpack(Packing::kGzip, file, output), Errno{});
    EXPECT_TRUE(output == data);
    file[12] ^= 1;  // in the extra field: only the header's checksum sees it
    EXPECT_EQ(unpack(Packing::kGzip, file, output), Errno::kEINVAL);

    plain[3] = 0x20;
    EXPECT_EQ(unpack(Packing::kGzip, plain, output), Errno::kEOPNOTSUPP);
    plain[3] = 0, plain[2] = 7;
    EXPECT_EQ(unpack(Packing::kGzip, plain, output), Errno::kEOPNOTSUPP);
    EXPECT_NE(fake::take_log().find("gzip -9"), std::string::npos);
}

/// A member around deflate's bytes, with the right checksum for `size` zeros.
Errno inflate(const Data& deflated, size_t size) {
    Data file{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
    append(file, deflated);
    Data output(size);
    const uint32_t crc = hv::boot::crc32(output);
    for (int i = 0; i < 4; ++i) file.push_back(static_cast<uint8_t>(crc >> 8 * i));
    for (int i = 0; i < 4; ++i) file.push_back(static_cast<uint8_t>(size >> 8 * i));
    return unpack(Packing::kGzip, file, output);
}

TEST(Gzip, MalformedBlocks) {
    EXPECT_EQ(inflate({0x01, 1, 0, 0xfe, 0xff, 0}, 1), Errno{});         // stored: one zero
    EXPECT_EQ(inflate({0x01, 1, 0, 0xfe, 0xfe, 0}, 1), Errno::kEINVAL);  // its length twice
    EXPECT_EQ(inflate({0x07, 0, 0}, 0), Errno::kEINVAL);                 // kind 3
    EXPECT_EQ(inflate({0x03, 0x02}, 3), Errno::kEINVAL);              // a match with nothing before
    EXPECT_EQ(inflate({0xfd, 0x1f, 0, 0, 0, 0}, 1), Errno::kEINVAL);  // 288 literals and lengths
    EXPECT_EQ(inflate({0x05, 0xc0, 0xff, 0xff, 0xff, 0xff}, 1),
              Errno::kEINVAL);  // too many short codes
    fake::take_log();
}

TEST(Zstd, KnownChecksum) {
    EXPECT_EQ(hv::boot::zstd::xxh64({}), 0xef46db3751d8e999u);
}

TEST(Zstd, FramesInARow) {
    const Data first = mixed(70'000, 30), second = mixed(300, 31);
    Data file = pack(first, "zstd -q");
    if (file.empty()) GTEST_SKIP() << "zstd is not installed";
    append(file, {0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'n', 'y'});  // one to be skipped
    append(file, pack(second, "zstd -q"));
    Data all = first;
    append(all, second);
    Data output(all.size());
    EXPECT_EQ(unpack(Packing::kZstd, file, output), Errno{}) << fake::take_log();
    EXPECT_TRUE(output == all);
}

/// A frame of one segment without a checksum, with this block as its last one.
Errno decode_block(unsigned kind, unsigned header_size, const Data& block, uint8_t unpacked) {
    Data file{0x28, 0xb5, 0x2f, 0xfd, 0x20, unpacked};
    const unsigned header = 1 | kind << 1 | header_size << 3;
    for (int i = 0; i < 3; ++i) file.push_back(static_cast<uint8_t>(header >> 8 * i));
    append(file, block);
    Data output(unpacked);
    return unpack(Packing::kZstd, file, output);
}

TEST(Zstd, MalformedFrames) {
    Data output(1);
    EXPECT_EQ(decode_block(0, 1, {'x'}, 1), Errno{});
    EXPECT_EQ(decode_block(1, 7, {'x'}, 7), Errno{});
    EXPECT_EQ(decode_block(1, 7, {'x'}, 8), Errno::kEINVAL);  // the header says another size
    EXPECT_EQ(decode_block(3, 1, {'x'}, 1), Errno::kEINVAL);  // a reserved kind
    EXPECT_EQ(decode_block(1, 128 * 1024 + 1, {'x'}, 1), Errno::kEINVAL);
    // literals `x`, then one sequence in modes that repeat tables there are not
    EXPECT_EQ(decode_block(2, 5, {0x08, 'x', 1, 0xfc, 1}, 1), Errno::kEINVAL);
    // literals with the tree of an earlier block
    EXPECT_EQ(decode_block(2, 5, {0x13, 0x40, 0, 1, 0}, 1), Errno::kEINVAL);
    // One sequence without literals, a match of 3 bytes, each code of a single symbol; a distance
    // of 8, which is before the start; the latest one less 1, which is none; and a bit too few.
    EXPECT_EQ(decode_block(2, 7, {0x00, 1, 0x54, 0, 1, 0, 2}, 3), Errno::kEINVAL);
    EXPECT_EQ(decode_block(2, 7, {0x00, 1, 0x54, 0, 1, 0, 3}, 3), Errno::kEINVAL);
    EXPECT_EQ(decode_block(2, 7, {0x00, 1, 0x54, 0, 1, 0, 1}, 3), Errno::kENODATA);
    fake::take_log();

    EXPECT_EQ(unpack(Packing::kZstd, {0x28, 0xb5, 0x2f, 0xfd, 0x21, 9, 1}, output),
              Errno::kEOPNOTSUPP);  // dictionary 9
    EXPECT_NE(fake::take_log().find("dictionary"), std::string::npos);
    EXPECT_EQ(unpack(Packing::kZstd, {0x28, 0xb5, 0x2f, 0xfd, 0x28, 1}, output),
              Errno::kEOPNOTSUPP);  // a reserved bit
}

Errno decode_lz4(const Data& block, size_t size) {
    Data file{0x02, 0x21, 0x4c, 0x18, static_cast<uint8_t>(block.size()), 0, 0, 0};
    append(file, block);
    Data output(size);
    return unpack(Packing::kLz4, file, output);
}

TEST(Lz4, MalformedBlocks) {
    EXPECT_EQ(decode_lz4({0x10, 'x'}, 1), Errno{});
    EXPECT_EQ(decode_lz4({0x12, 'x', 1, 0, 0x00}, 7), Errno{});         // x seven times
    EXPECT_EQ(decode_lz4({0x12, 'x', 2, 0, 0x00}, 7), Errno::kEINVAL);  // too far back
    EXPECT_EQ(decode_lz4({0x12, 'x', 0, 0, 0x00}, 7), Errno::kEINVAL);  // distance 0
    EXPECT_EQ(decode_lz4({0x12, 'x', 1}, 7), Errno::kENODATA);
    EXPECT_EQ(decode_lz4({0x20, 'x'}, 2), Errno::kENODATA);
    EXPECT_EQ(decode_lz4({0xf0, 255, 255}, 2), Errno::kENODATA);
    EXPECT_EQ(decode_lz4({0x1f, 'x', 1, 0, 255, 0}, 20), Errno::kENOSPC);
    fake::take_log();
}

}  // namespace

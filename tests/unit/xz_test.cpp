#include <gtest/gtest.h>

#include <random>
#include <string>

#include "boot_fakes.hpp"
#include "hv/x86/boot/unpack/crc32.hpp"
#include "hv/x86/boot/unpack/unpack.hpp"
#include "packers.hpp"

namespace {

using hv::Errno;
using packers::Data;
using packers::mixed;
using packers::random_bytes;

Data pack(const Data& data, const std::string& options) {
    return packers::pack(data, "xz " + options);
}

Errno unpack(const Data& packed, Data& output) {
    return hv::boot::unpack(hv::boot::Packing::kXz, packed, output).error();
}

class Xz : public testing::Test {
  protected:
    void SetUp() override {
        if (pack({1, 2, 3}, "").empty()) GTEST_SKIP() << "the xz tool is not installed";
    }
    void TearDown() override { fake::take_log(); }

    void round_trip(const Data& data, const std::string& options) {
        const Data packed = pack(data, options);
        ASSERT_FALSE(packed.empty()) << options;
        Data output(data.size());
        EXPECT_EQ(unpack(packed, output), Errno{}) << options << '\n' << fake::take_log();
        EXPECT_TRUE(output == data) << options;
    }
};

TEST(Crc32, KnownValue) {
    const std::string_view text = "123456789";
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
    EXPECT_EQ(hv::boot::crc32({bytes, 9}), 0xcbf43926u);
    EXPECT_EQ(hv::boot::crc32({bytes + 4, 5}, hv::boot::crc32({bytes, 4})), 0xcbf43926u);
}

TEST_F(Xz, AsKernelsArePacked) {
    round_trip(mixed(3'000'000, 1), "--check=crc32 --x86 --lzma2=dict=1MiB");
    round_trip(mixed(700'000, 2), "--check=crc32 --x86 --lzma2=dict=32MiB,nice=273");
}

TEST_F(Xz, SizesAroundTheEdges) {
    for (size_t size : {1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 100, 65535, 65536, 65537, 2 << 20})
        round_trip(mixed(size, static_cast<unsigned>(size)), "--check=crc32 --x86 --lzma2");
}

TEST_F(Xz, AllParameters) {
    const Data data = mixed(200'000, 3);
    for (const char* parameters : {"lc=0,lp=0,pb=0", "lc=4,lp=0,pb=4", "lc=0,lp=4,pb=2",
                                   "lc=2,lp=2,pb=1", "mode=fast,nice=8,mf=hc3"})
        round_trip(data, std::string("--check=crc32 --lzma2=") + parameters);
}

TEST_F(Xz, StoredChunksAndManyBlocks) {
    round_trip(random_bytes(300'000, 4), "--check=crc32");
    round_trip(mixed(500'000, 5), "--check=crc32 --block-size=60000");
    round_trip(mixed(500'000, 6), "--check=none -T2 --block-size=100000");
}

TEST_F(Xz, BranchFilterOnDenseOpcodes) {
    std::mt19937 random(7);
    Data data(400'000);
    constexpr uint8_t kBytes[] = {0xe8, 0xe9, 0x00, 0xff, 0x01, 0xfe};
    for (auto& byte : data) byte = kBytes[random() % sizeof kBytes];
    round_trip(data, "--check=crc32 --x86 --lzma2");
}

TEST_F(Xz, EmptyStream) {
    Data output;
    EXPECT_EQ(unpack(pack({}, "--check=crc32"), output), Errno{});
}

TEST_F(Xz, EveryTruncationIsAnError) {
    const Data data = mixed(3'000, 8);
    const Data packed = pack(data, "--check=crc32 --x86 --lzma2");
    for (size_t size = 0; size < packed.size(); ++size) {
        const Data cut(packed.begin(), packed.begin() + static_cast<long>(size));
        Data output(data.size());
        EXPECT_NE(unpack(cut, output), Errno{}) << size;
    }
    EXPECT_NE(fake::take_log().find("truncated"), std::string::npos);
}

TEST_F(Xz, EveryFlippedBitIsAnError) {
    const Data data = mixed(3'000, 9);
    const Data packed = pack(data, "--check=crc32 --x86 --lzma2");
    for (size_t bit = 0; bit < packed.size() * 8; ++bit) {
        Data broken = packed;
        broken[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
        Data output(data.size());
        const Errno error = unpack(broken, output);
        // The dictionary's size may be a larger one: the output is all there is anyway.
        EXPECT_TRUE(error != Errno{} || output == data) << bit;
    }
}

TEST_F(Xz, GarbageWithoutChecksNeverLeavesTheBuffers) {
    const Data data = mixed(60'000, 10);
    const Data packed = pack(data, "--check=none --x86 --lzma2");
    std::mt19937 random(11);
    for (int round = 0; round < 300; ++round) {
        Data broken = packed;
        for (int i = 0; i < 4; ++i) broken[24 + random() % (broken.size() - 24)] = random() & 0xff;
        Data output(data.size() - random() % 100);
        (void)unpack(broken, output);
    }
}

TEST_F(Xz, WrongOutputSize) {
    const Data packed = pack(mixed(5'000, 12), "--check=crc32");
    Data small(4'999), large(5'001);
    EXPECT_EQ(unpack(packed, small), Errno::kENOSPC);
    EXPECT_EQ(unpack(packed, large), Errno::kE2BIG);
}

TEST_F(Xz, ForeignFiltersAndChecksAreRefused) {
    const Data data = mixed(5'000, 13);
    Data output(data.size());
    for (const char* options : {"--check=sha256", "--check=crc64", "--check=crc32 --arm --lzma2",
                                "--check=crc32 --delta --x86 --lzma2"}) {
        EXPECT_EQ(unpack(pack(data, options), output), Errno::kEOPNOTSUPP) << options;
        EXPECT_NE(fake::take_log().find("--check=crc32"), std::string::npos);
    }
}

}  // namespace

#include "hv/x86/boot/bzimage.hpp"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "boot_fakes.hpp"

namespace {

using hv::Errno;
using hv::boot::find_payload;
using hv::boot::Packing;
using File = std::vector<uint8_t>;

constexpr std::string_view kXzMagic(
    "\xfd"
    "7zXZ\0",
    6);

template <class T>
void put(File& file, size_t at, T value) {
    __builtin_memcpy(file.data() + at, &value, sizeof value);
}

/// A bzImage with 3 setup sectors and `payload` 0x40 bytes behind them.
File bzimage(std::string_view payload, uint32_t length = 0x1000) {
    File file(4 * 512 + 0x40 + length);
    file[0x1f1] = 3;
    put<uint16_t>(file, 0x1fe, 0xaa55);
    __builtin_memcpy(file.data() + 0x202, "HdrS", 4);
    put<uint16_t>(file, 0x206, 0x020f);
    put<uint32_t>(file, 0x248, 0x40);
    put<uint32_t>(file, 0x24c, length);
    __builtin_memcpy(file.data() + 4 * 512 + 0x40, payload.data(), payload.size());
    return file;
}

void expect_refusal(const File& file, Errno error, std::string_view reason) {
    auto found = find_payload(file);
    EXPECT_FALSE(found.ok()) << reason;
    EXPECT_TRUE(found.ok() || found.error() == error) << reason;
    EXPECT_NE(fake::take_log().find(reason), std::string::npos) << reason;
}

TEST(BzImage, XzPayloadAndItsSize) {
    File file = bzimage(kXzMagic);
    put<uint32_t>(file, file.size() - 4, 65906612);
    auto found = find_payload(file);
    ASSERT_TRUE(found.ok()) << fake::take_log();
    EXPECT_EQ(found->packing, Packing::kXz);
    EXPECT_EQ(found->unpacked_size, 65906612u);
    EXPECT_EQ(found->bytes.data(), file.data() + 4 * 512 + 0x40);
    EXPECT_EQ(found->bytes.size(), 0x1000u - 4);
}

TEST(BzImage, NoSetupSectorsMeansFour) {
    File file = bzimage("", 0x2000);
    file[0x1f1] = 0;
    __builtin_memcpy(file.data() + 5 * 512 + 0x40,
                     "\x7f"
                     "ELF",
                     4);
    put<uint32_t>(file, 0x24c, 0x1000);
    auto found = find_payload(file);
    ASSERT_TRUE(found.ok()) << fake::take_log();
    EXPECT_EQ(found->packing, Packing::kNone);
    EXPECT_EQ(found->unpacked_size, 0x1000u);
}

TEST(BzImage, PlainElf) {
    File file(100);
    __builtin_memcpy(file.data(),
                     "\x7f"
                     "ELF",
                     4);
    auto found = find_payload(file);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found->bytes.size(), 100u);
}

TEST(BzImage, OthersThatAreUnpacked) {
    struct {
        std::string_view magic;
        Packing packing;
        size_t appended;  // the size behind the packed bytes; gzip's own end is the same
    } const formats[] = {{"\x1f\x8b", Packing::kGzip, 0},
                         {"\x28\xb5\x2f\xfd", Packing::kZstd, 4},
                         {"\x02\x21\x4c\x18", Packing::kLz4, 4}};
    for (const auto& format : formats) {
        File file = bzimage(format.magic);
        put<uint32_t>(file, file.size() - 4, 1 << 20);
        auto found = find_payload(file);
        ASSERT_TRUE(found.ok()) << fake::take_log();
        EXPECT_EQ(found->packing, format.packing);
        EXPECT_EQ(found->unpacked_size, 1u << 20);
        EXPECT_EQ(found->bytes.size(), 0x1000u - format.appended);
    }
}

TEST(BzImage, ForeignFormatsAreNamed) {
    expect_refusal(bzimage("\x04\x22\x4d\x18"), Errno::kEOPNOTSUPP, "lz4 (not its legacy format)");
    expect_refusal(bzimage("\x89LZO"), Errno::kEOPNOTSUPP, "lzo");
    expect_refusal(bzimage("BZh9"), Errno::kEOPNOTSUPP, "bzip2");
    expect_refusal(bzimage({"\x5d\0\0\0", 4}), Errno::kEOPNOTSUPP, "lzma");
    expect_refusal(bzimage("BZh9"), Errno::kEOPNOTSUPP, "XZ, gzip, zstd or lz4");
    expect_refusal(bzimage("what"), Errno::kENOEXEC, "unknown format");
    expect_refusal(File(1000, 'x'), Errno::kENOEXEC, "neither a bzImage nor an ELF");
    expect_refusal(File{}, Errno::kENOEXEC, "neither");
}

TEST(BzImage, Contradictions) {
    File old = bzimage(kXzMagic);
    put<uint16_t>(old, 0x206, 0x0207);
    expect_refusal(old, Errno::kEOPNOTSUPP, "2.6.26");

    File cut = bzimage(kXzMagic);
    cut.pop_back();
    expect_refusal(cut, Errno::kENODATA, "truncated");

    File far = bzimage(kXzMagic);
    put<uint32_t>(far, 0x248, 0xffffffff);
    expect_refusal(far, Errno::kENODATA, "truncated");

    expect_refusal(bzimage(kXzMagic), Errno::kEINVAL, "0 bytes");
    File huge = bzimage(kXzMagic);
    put<uint32_t>(huge, huge.size() - 4, 0xffffffff);
    expect_refusal(huge, Errno::kEINVAL, "cannot be");
}

TEST(BzImage, EveryTruncationIsAnError) {
    File file = bzimage(kXzMagic);
    put<uint32_t>(file, file.size() - 4, 1 << 20);
    for (size_t size = 0; size < file.size(); ++size)
        EXPECT_FALSE(find_payload(File(file.begin(), file.begin() + static_cast<long>(size))).ok());
    fake::take_log();
}

}  // namespace

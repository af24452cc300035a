#include "hv/x86/boot/elf.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "boot_fakes.hpp"
#include "elf_maker.hpp"

namespace {

using fake::ElfMaker;
using hv::Errno;
using hv::boot::KernelImage;

constexpr uint64_t kBase = ElfMaker::kBase;

/// What parse() says to a good kernel after `spoil`, and whether the log names `reason`.
void expect_refusal(Errno error, const std::string& reason,
                    const std::function<void(ElfMaker&)>& spoil) {
    ElfMaker maker = ElfMaker::kernel();
    spoil(maker);
    const auto file = maker.make();
    auto image = KernelImage::parse(file);
    EXPECT_FALSE(image.ok()) << reason;
    EXPECT_TRUE(image.ok() || image.error() == error) << reason;
    EXPECT_NE(fake::take_log().find(reason), std::string::npos) << reason;
}

TEST(Elf, DebiansShape) {
    const auto file = ElfMaker::kernel().make();
    auto image = KernelImage::parse(file);
    ASSERT_TRUE(image.ok()) << fake::take_log();
    ASSERT_EQ(image->segments().size(), 2u);
    EXPECT_EQ(image->segments()[1].physical, 0x1003000u);  // by p_paddr: p_vaddr is 0
    EXPECT_EQ(image->segments()[1].bytes[0], 0xcc);
    EXPECT_EQ(image->segments()[0].memory_size, 0x2000u);
    EXPECT_EQ(image->physical_end(), 0x1004000u);
    EXPECT_EQ(image->virtual_end(), kBase + 0x1004000);
    EXPECT_STREQ(image->notes().guest_os, "linux");
    EXPECT_EQ(image->notes().required_features, 1u);
    EXPECT_FALSE(image->notes().module_by_frame);
    EXPECT_FALSE(image->notes().init_p2m.has_value());
}

TEST(Elf, NotesOfBothSizesAndOfOthers) {
    ElfMaker maker = ElfMaker::kernel();
    const uint32_t one = 1;
    const uint64_t other = 12345;
    maker.note(XEN_ELFNOTE_VIRT_BASE, &other, sizeof other, "GNU");
    maker.note(XEN_ELFNOTE_MOD_START_PFN, &one, sizeof one);
    maker.note(XEN_ELFNOTE_INIT_P2M, 0x8000000000);
    const auto file = maker.make();
    auto image = KernelImage::parse(file);
    ASSERT_TRUE(image.ok()) << fake::take_log();
    EXPECT_TRUE(image->notes().module_by_frame);
    EXPECT_EQ(image->notes().init_p2m, 0x8000000000u);
    EXPECT_EQ(image->virtual_base(), kBase);
}

TEST(Elf, PhysicalOffsetIsTakenOff) {
    ElfMaker maker = ElfMaker::kernel();
    maker.note(XEN_ELFNOTE_PADDR_OFFSET, 0x1000000);
    maker.note(XEN_ELFNOTE_ENTRY, kBase + 0x10);
    const auto file = maker.make();
    auto image = KernelImage::parse(file);
    ASSERT_TRUE(image.ok()) << fake::take_log();
    EXPECT_EQ(image->segments()[0].physical, 0u);
}

TEST(Elf, RefusalsSayWhy) {
    expect_refusal(Errno::kENOEXEC, "no Xen notes", [](ElfMaker& m) { m.notes.clear(); });
    expect_refusal(Errno::kENOEXEC, "not for x86-64", [](ElfMaker& m) { m.header.machine = 183; });
    expect_refusal(Errno::kENOEXEC, "not for x86-64", [](ElfMaker& m) { m.header.magic[4] = 1; });
    expect_refusal(Errno::kENOEXEC, "no ELF file", [](ElfMaker& m) { m.header.magic[0] = 0; });
    expect_refusal(Errno::kEINVAL, "wrong size",
                   [](ElfMaker& m) { m.header.program_header_size = 32; });
    expect_refusal(Errno::kENODATA, "program headers",
                   [](ElfMaker& m) { m.header.program_headers = 1 << 20; });
    expect_refusal(Errno::kENODATA, "program headers",
                   [](ElfMaker& m) { m.header.program_headers = ~0ull - 8; });
    expect_refusal(Errno::kEOPNOTSUPP, "xen-3.0",
                   [](ElfMaker& m) { m.note(XEN_ELFNOTE_XEN_VERSION, "xen-9"); });
    expect_refusal(Errno::kEOPNOTSUPP, "CONFIG_XEN_DOM0",
                   [](ElfMaker& m) { m.note(XEN_ELFNOTE_SUPPORTED_FEATURES, 1); });
    expect_refusal(Errno::kEOPNOTSUPP, "requires features",
                   [](ElfMaker& m) { m.note(XEN_ELFNOTE_FEATURES, "!auto_translated_physmap"); });
    expect_refusal(Errno::kEINVAL, "outside all bounds",
                   [](ElfMaker& m) { m.segments[0].physical_address = ~0ull; });
    expect_refusal(Errno::kEINVAL, "outside all bounds",
                   [](ElfMaker& m) { m.segments[0].memory_size = ~0ull; });
    expect_refusal(Errno::kEINVAL, "outside all bounds",
                   [](ElfMaker& m) { m.segments[0].memory_size = 0x10; });
    expect_refusal(Errno::kEINVAL, "VIRT_BASE",
                   [](ElfMaker& m) { m.note(XEN_ELFNOTE_VIRT_BASE, 0xffff800000000000); });
    expect_refusal(Errno::kEINVAL, "VIRT_BASE",
                   [](ElfMaker& m) { m.note(XEN_ELFNOTE_VIRT_BASE, 0x7ffffffff000); });
    expect_refusal(Errno::kEINVAL, "VIRT_BASE",
                   [](ElfMaker& m) { m.note(XEN_ELFNOTE_VIRT_BASE, ~0xfffull); });
    expect_refusal(Errno::kEINVAL, "HV_START_LOW",
                   [](ElfMaker& m) { m.note(XEN_ELFNOTE_HV_START_LOW, 0xffff900000000000); });
    expect_refusal(Errno::kEINVAL, "entry outside",
                   [](ElfMaker& m) { m.note(XEN_ELFNOTE_ENTRY, 0x1000); });
    expect_refusal(Errno::kEINVAL, "hypercall page",
                   [](ElfMaker& m) { m.note(XEN_ELFNOTE_HYPERCALL_PAGE, kBase + 0x100); });
    expect_refusal(Errno::kEINVAL, "INIT_P2M",
                   [](ElfMaker& m) { m.note(XEN_ELFNOTE_INIT_P2M, 0xffff830000000000); });
    expect_refusal(Errno::kEINVAL, "notes that cannot be read",
                   [](ElfMaker& m) { m.note(XEN_ELFNOTE_ENTRY, "abcdef"); });
    expect_refusal(Errno::kEINVAL, "more segments", [](ElfMaker& m) {
        for (int i = 0; i < 20; ++i) m.segment(0x2000000, {1}, 1);
    });
}

TEST(Elf, PvhOnlyKernelIsNamedSo) {
    ElfMaker maker = ElfMaker::kernel();
    maker.notes.clear();
    maker.note(XEN_ELFNOTE_PHYS32_ENTRY, 0x1000000);
    const auto file = maker.make();
    EXPECT_FALSE(KernelImage::parse(file).ok());
    EXPECT_NE(fake::take_log().find("PVH only"), std::string::npos);
}

TEST(Elf, EveryTruncationIsAnError) {
    const auto file = ElfMaker::kernel().make();
    for (size_t size = 0; size < file.size(); ++size) {
        const std::vector<uint8_t> cut(file.begin(), file.begin() + static_cast<long>(size));
        EXPECT_FALSE(KernelImage::parse(cut).ok()) << size;
    }
    fake::take_log();
}

TEST(Elf, GarbageNeverLeavesTheFile) {
    const auto file = ElfMaker::kernel().make();
    std::mt19937 random(1);
    for (int round = 0; round < 20000; ++round) {
        auto broken = file;
        for (int i = 0; i < 3; ++i) {
            // headers and notes, where it hurts
            const size_t at = random() % 2 ? random() % 240 : file.size() - 1 - random() % 200;
            broken[at] = static_cast<uint8_t>(random());
        }
        auto image = KernelImage::parse(broken);
        if (!image.ok()) continue;
        unsigned sum = 0;
        for (const auto& segment : image->segments())
            for (uint8_t byte : segment.bytes) sum += byte;
        EXPECT_GE(image->physical_end(), 1u) << sum;
    }
    fake::take_log();
}

}  // namespace

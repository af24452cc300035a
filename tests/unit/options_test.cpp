#include "hv/x86/boot/options.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "hv/limits.hpp"
#include "hv/x86/boot/module.hpp"

namespace {

using hv::boot::Options;
using Level = Options::Level;

std::vector<std::string> warnings;

Options parse(std::string_view line) {
    warnings.clear();
    Options options;
    hv::boot::parse_command_line(line, options,
                                 [](std::string_view text) { warnings.emplace_back(text); });
    return options;
}

/// Whether exactly one warning was given and it names `word` and says `what`.
testing::AssertionResult warned(std::string_view word, std::string_view what) {
    if (warnings.size() == 1 &&
        warnings[0].find("`" + std::string(word) + "`") != std::string::npos &&
        warnings[0].find(what) != std::string::npos)
        return testing::AssertionSuccess();
    auto failure = testing::AssertionFailure() << warnings.size() << " warnings:";
    for (const auto& text : warnings) failure << '\n' << text;
    return failure;
}

TEST(Options, AUsualLineGivesNoWarning) {
    const Options o = parse(
        "console=com1 com1=115200,8n1 dom0_mem=1024M,max:2G dom0_max_vcpus=2 dom0_vcpus_pin "
        "loglvl=all guest_loglvl=error/all sched=credit noreboot spec-ctrl=eager-fpu");
    EXPECT_TRUE(warnings.empty()) << warnings[0];
    EXPECT_STREQ(o.console, "com1");
    EXPECT_EQ(o.com1.baud, 115200u);
    EXPECT_EQ(o.com1.port, 0x3f8);
    EXPECT_EQ(o.dom0_mem.bytes, hv::kGiB);
    EXPECT_TRUE(o.dom0_mem_max.given);
    EXPECT_EQ(o.dom0_mem_max.bytes, 2 * hv::kGiB);
    EXPECT_FALSE(o.dom0_mem_min.given);
    EXPECT_EQ(o.dom0_max_vcpus_min, 2u);
    EXPECT_EQ(o.dom0_max_vcpus_max, 2u);
    EXPECT_TRUE(o.dom0_vcpus_pin);
    EXPECT_EQ(o.log_level, Level::kAll);
    EXPECT_EQ(o.guest_log_level, Level::kError);
    EXPECT_EQ(o.guest_log_rate, Level::kAll);
    EXPECT_TRUE(o.noreboot);
}

TEST(Options, ImageNameInFront) {
    EXPECT_TRUE(parse("build/release/xenolith noreboot").noreboot);
    EXPECT_TRUE(warnings.empty());
    EXPECT_STREQ(parse("/boot/xen=1.gz  noreboot").command_line, "noreboot");
    EXPECT_TRUE(warnings.empty());
    EXPECT_TRUE(parse("placeholder noreboot").noreboot);
    EXPECT_TRUE(warnings.empty());
    EXPECT_TRUE(parse("noreboot").noreboot);
    EXPECT_TRUE(parse("no-smap").smap == false);
    EXPECT_TRUE(warnings.empty());
}

TEST(Options, MemoryUnits) {
    EXPECT_EQ(parse("dom0_mem=1048576").dom0_mem.bytes, hv::kGiB);  // KiB without a unit
    EXPECT_EQ(parse("dom0_mem=4096b").dom0_mem.bytes, 4096u);
    EXPECT_EQ(parse("dom0_mem=64k").dom0_mem.bytes, 64 * hv::kKiB);
    EXPECT_EQ(parse("dom0_mem=0x10M").dom0_mem.bytes, 16 * hv::kMiB);
    EXPECT_EQ(parse("dom0_mem=1T").dom0_mem.bytes, 1024 * hv::kGiB);
    const Options o = parse("dom0_mem=min:-512M,max:1G+25%,50%");
    EXPECT_TRUE(o.dom0_mem_min.negative);
    EXPECT_EQ(o.dom0_mem_min.bytes, 512 * hv::kMiB);
    EXPECT_EQ(o.dom0_mem_max.bytes, hv::kGiB);
    EXPECT_EQ(o.dom0_mem_max.percent, 25u);
    EXPECT_EQ(o.dom0_mem.percent, 50u);
    EXPECT_EQ(o.dom0_mem.bytes, 0u);
    EXPECT_TRUE(warnings.empty());
}

TEST(Options, BadValuesAreNamed) {
    for (const char* word :
         {"dom0_mem=", "dom0_mem=12Q", "dom0_mem=99999999999999999999", "dom0_mem=99999999999T",
          "dom0_mem=100%", "dom0_max_vcpus=4-2", "dom0_max_vcpus=x", "com1=115200,9n1",
          "com1=115200,8n1,0x3f8,4,5", "loglvl=loud", "noreboot=perhaps", "xpti=dom7", "maxcpus=-1",
          "conring_size=0", "conring_size=1T", "low_mem_virq_limit=little",
          "console=", "console=lpt1"}) {
        parse(word);
        EXPECT_TRUE(warned(word, "not understood")) << word;
    }
}

TEST(Options, Screen) {
    EXPECT_STREQ(parse("xenolith").console, "com1,vga");
    EXPECT_FALSE(parse("xenolith vga=current").vga_keep);
    EXPECT_TRUE(warnings.empty());
    EXPECT_TRUE(parse("xenolith vga=keep").vga_keep);
    EXPECT_TRUE(warnings.empty());
    EXPECT_TRUE(parse("xenolith vga=gfx-1024x768x32,keep").vga_keep);
    EXPECT_TRUE(warned("vga=gfx-1024x768x32,keep", "boot loader"));
    parse("xenolith vga=");
    EXPECT_TRUE(warned("vga=", "not understood"));
    parse("xenolith vga=big");
    EXPECT_TRUE(warned("vga=big", "not understood"));
}

TEST(Options, UnknownAndWithoutEffect) {
    parse("xenolith frobnicate=1");
    EXPECT_TRUE(warned("frobnicate=1", "unknown"));
    parse("xenolith cpufreq=xen:performance");
    EXPECT_TRUE(warned("cpufreq=xen:performance", "no effect"));
    parse("ucode=scan");
    EXPECT_TRUE(warned("ucode=scan", "no effect"));
    parse("noreboot no-iommu");
    EXPECT_TRUE(warned("no-iommu", "no effect"));
    parse("spec-ctrl=no-xen");
    EXPECT_TRUE(warned("spec-ctrl=no-xen", "no effect"));
    parse("dom0=pvh");
    EXPECT_TRUE(warned("dom0=pvh", "no effect"));
    parse(std::string(4000, 'x') + " " + std::string(4000, 'y'));
    EXPECT_EQ(warnings.size(), 1u);
    EXPECT_LT(warnings[0].size(), 256u);
}

TEST(Options, VcpuRanges) {
    EXPECT_EQ(parse("dom0_max_vcpus=4-8").dom0_max_vcpus_min, 4u);
    EXPECT_EQ(parse("dom0_max_vcpus=4-8").dom0_max_vcpus_max, 8u);
    EXPECT_EQ(parse("dom0_max_vcpus=-3").dom0_max_vcpus_max, 3u);
    EXPECT_EQ(parse("dom0_max_vcpus=-3").dom0_max_vcpus_min, 1u);
    EXPECT_EQ(parse("dom0_max_vcpus=5-").dom0_max_vcpus_min, 5u);
    EXPECT_EQ(parse("dom0_max_vcpus=5-").dom0_max_vcpus_max, 0u);
}

TEST(Options, Booleans) {
    EXPECT_FALSE(parse("smap=off").smap);
    EXPECT_FALSE(parse("no-smep").smep);
    EXPECT_FALSE(parse("smap=hvm").smap);
    EXPECT_FALSE(parse("x2apic=0").x2apic);
    EXPECT_TRUE(parse("no-x2apic=off").x2apic);
    EXPECT_TRUE(parse("nosmp").nosmp);
    EXPECT_FALSE(parse("nosmp=no").nosmp);
}

TEST(Options, PageTableIsolation) {
    EXPECT_EQ(parse("").xpti_dom0, -1);
    EXPECT_EQ(parse("xpti").xpti_domu, 1);
    EXPECT_EQ(parse("no-xpti").xpti_dom0, 0);
    EXPECT_EQ(parse("xpti=true,dom0=no").xpti_dom0, 0);
    EXPECT_EQ(parse("xpti=true,dom0=no").xpti_domu, 1);
    EXPECT_EQ(parse("xpti=no-dom0,domu").xpti_domu, 1);
    EXPECT_EQ(parse("xpti=no xpti=default").xpti_dom0, -1);
}

TEST(Options, NumaOnAndOff) {
    EXPECT_TRUE(parse("").numa);
    EXPECT_TRUE(parse("numa=on").numa);
    for (const char* line : {"numa=off", "no-numa", "numa=noacpi"}) EXPECT_FALSE(parse(line).numa);
    EXPECT_TRUE(warnings.empty());
    EXPECT_TRUE(parse("numa=fake=2").numa);
    EXPECT_TRUE(warned("numa=fake=2", "no effect"));
    parse("numa=perhaps");
    EXPECT_TRUE(warned("numa=perhaps", "not understood"));
}

TEST(Options, Serial) {
    const Options o = parse("com2=38400/1843200,7e2,0x2e8,5 com1=auto");
    EXPECT_TRUE(warnings.empty());
    EXPECT_EQ(o.com2.baud, 38400u);
    EXPECT_EQ(o.com2.data_bits, 7u);
    EXPECT_EQ(o.com2.parity, 'e');
    EXPECT_EQ(o.com2.stop_bits, 2u);
    EXPECT_EQ(o.com2.port, 0x2e8);
    EXPECT_EQ(o.com2.irq, 5u);
    EXPECT_EQ(o.com1.baud, 0u);
}

TEST(Options, ForDomain0) {
    const Options o = parse("xen noreboot --   quiet -- splash");
    EXPECT_STREQ(o.command_line, "noreboot");
    EXPECT_STREQ(o.dom0_extra, "quiet -- splash");
    EXPECT_TRUE(warnings.empty());
    EXPECT_EQ(std::string(parse("xen -- " + std::string(5000, 'a')).dom0_extra).size(), 511u);
}

TEST(Module, FileNameIsStripped) {
    using hv::boot::strip_file_name;
    EXPECT_EQ(strip_file_name(" vmlinuz  console=hvc0 quiet", "qemu"), "console=hvc0 quiet");
    EXPECT_EQ(strip_file_name("vmlinuz", "qemu"), "");
    EXPECT_EQ(strip_file_name("", ""), "");
    EXPECT_EQ(strip_file_name("placeholder root=/dev/sda1", "GRUB 2.06-13"),
              "placeholder root=/dev/sda1");
    EXPECT_EQ(strip_file_name("/vmlinuz root=/dev/sda1", "GNU GRUB 0.97"), "root=/dev/sda1");
    EXPECT_EQ(strip_file_name("/vmlinuz x", "GRUB "), "x");
}

}  // namespace

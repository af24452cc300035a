// xenolith.efi: what is read from a configuration file, load options, an ELF header and a memory
// map, whatever stands there; and that the hypervisor understands what is written for it.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "arch/memory.hpp"
#include "boot_fakes.hpp"
#include "efi/boot_information.hpp"
#include "efi/load_options.hpp"
#include "efi/placement.hpp"
#include "efi/settings.hpp"
#include "hv/x86/boot/boot_info.hpp"
#include "hv/x86/boot/screen.hpp"
#include "hv/x86/efi/handed_over.hpp"

namespace hv::arch {
uintptr_t kDirectMap;
}

namespace efi {
namespace {

using namespace std::literals;

constexpr std::string_view kExample =
    "# comment\r\n"
    "[global]\r\n"
    "default=one\r\n"
    "chain=more.cfg\r\n"
    "\r\n"
    "[one]\r\n"
    "options=console=com1 loglvl=all   # tail\r\n"
    "\tkernel = vmlinuz  root=/dev/sda1 ro \r\n"
    "; kernel=other\r\n"
    "kernel=second\r\n"
    "[onetwo]\n"
    "kernel=two\n"
    "[one]\n"
    "ramdisk=late\n"
    "strange=1\n"
    "noise";

TEST(EfiConfig, FindsWhatXenEfiFinds) {
    const Config config(kExample);
    EXPECT_EQ(config.find("global", "default"), "one");
    EXPECT_EQ(config.find("one", "options"), "console=com1 loglvl=all");
    EXPECT_EQ(config.find("one", "kernel"), "vmlinuz  root=/dev/sda1 ro");
    EXPECT_EQ(config.find("onetwo", "kernel"), "two");
    EXPECT_EQ(config.find("one", "ramdisk"), std::nullopt) << "only the first section of a name";
    EXPECT_EQ(config.find("on", "kernel"), std::nullopt);
    EXPECT_EQ(config.find("", "ramdisk"), "late") << "without a section, the first of all";
    EXPECT_EQ(config.find("", "kern"), std::nullopt);
    EXPECT_TRUE(config.has_section("onetwo"));
    EXPECT_FALSE(config.has_section("two"));
}

TEST(EfiConfig, NamesTheLinesThatNobodyKnows) {
    const Config config(kExample);
    const auto first = config.next_unknown(0);
    EXPECT_EQ(first.number, 15u);
    EXPECT_EQ(first.text, "strange=1");
    const auto second = config.next_unknown(first.number);
    EXPECT_EQ(second.number, 16u);
    EXPECT_EQ(config.next_unknown(second.number).number, 0u);
}

TEST(EfiConfig, TellsTextInWideCharacters) {
    EXPECT_TRUE(Config("\xff\xfe[\0g\0"sv).is_wide());
    EXPECT_TRUE(Config("[\0g\0"sv).is_wide());
    EXPECT_FALSE(Config(kExample).is_wide());
    EXPECT_EQ(Config("\xef\xbb\xbf[a]\nkernel=b").find("a", "kernel"), "b");
}

TEST(EfiConfig, TakesAnyBytes) {
    std::mt19937 random(1);
    constexpr std::string_view kPieces[] = {"[", "]", "=", "\n", "kernel", "#", ";", " ", "a"};
    for (int round = 0; round < 20'000; ++round) {
        std::string text;
        for (unsigned n = random() % 20; n; --n)
            text += random() % 4 ? std::string(kPieces[random() % std::size(kPieces)])
                                 : std::string(1, static_cast<char>(random()));
        // A copy of its own size, so that the sanitizer sees a step outside.
        const std::vector<char> exact(text.begin(), text.end());
        const Config config(std::string_view(exact.data(), exact.size()));
        (void)config.is_wide();
        (void)config.has_section("a");
        for (size_t line = 0; (line = config.next_unknown(line).number);)
            ;
        for (const std::string_view section : {"", "a", "global"})
            if (auto value = config.find(section, "kernel")) cut_word(*value);
    }
}

std::vector<uint8_t> wide(std::u16string_view text) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
    return {bytes, bytes + 2 * text.size()};
}

TEST(EfiLoadOptions, ReadsTheShellsLine) {
    const auto bytes = wide(u"fs0:\\xenolith.efi -basevideo  /cfg=a.cfg -huh one -- x=1  y\0"sv);
    const LoadOptions options(bytes);
    EXPECT_TRUE(options.base_video);
    EXPECT_FALSE(options.help);
    EXPECT_EQ(options.config, u"a.cfg");
    EXPECT_EQ(options.section, u"one");
    EXPECT_EQ(options.boot_line, u"x=1  y");
    EXPECT_EQ(options.unknown, u"-huh");
}

TEST(EfiLoadOptions, NeedsNoNameInFrontOfAnOption) {
    EXPECT_EQ(LoadOptions(wide(u"-cfg b.cfg two"sv)).config, u"b.cfg");
    EXPECT_EQ(LoadOptions(wide(u"-cfg b.cfg two"sv)).section, u"two");
    EXPECT_TRUE(LoadOptions(wide(u"x.efi -?\0"sv)).help);
    EXPECT_EQ(LoadOptions(wide(u"one\0"sv)).section, u"") << "the first word is the name";
}

/// EFI_LOAD_OPTION: active, paths of 4 bytes, a title.
std::vector<uint8_t> load_option(std::u16string_view data) {
    std::vector<uint8_t> bytes{1, 0, 0, 0, 4, 0};
    for (const auto& part : {wide(u"Title\0"sv), {0x7f, 0xff, 4, 0}, wide(data)})
        bytes.insert(bytes.end(), part.begin(), part.end());
    return bytes;
}

TEST(EfiLoadOptions, ReadsAWholeLoadOption) {
    EXPECT_EQ(LoadOptions(load_option(u"one -- y\0"sv)).section, u"one");
    EXPECT_EQ(LoadOptions(load_option(u"one -- y\0"sv)).boot_line, u"y");
    EXPECT_EQ(LoadOptions(load_option(u"")).section, u"");
    auto inactive = load_option(u"one\0"sv);
    inactive[0] = 0;
    EXPECT_EQ(LoadOptions(inactive).section, u"");
}

TEST(EfiLoadOptions, TakesAnyBytes) {
    const auto whole = load_option(u"one -cfg\0"sv);
    for (size_t n = 0; n <= whole.size(); ++n)
        LoadOptions(std::vector<uint8_t>(whole.begin(), whole.begin() + static_cast<long>(n)));
    std::mt19937 random(2);
    for (int round = 0; round < 20'000; ++round) {
        std::vector<uint8_t> bytes(random() % 40);
        for (auto& b : bytes) b = random() % 3 ? u8"- \tc/x"[random() % 6] : uint8_t(random() % 2);
        const LoadOptions options(bytes);
    }
    EXPECT_TRUE(LoadOptions(std::vector<uint8_t>(5000, 'a')).too_long);
}

std::u16string configs_of(std::u16string_view program) {
    Path path;
    EXPECT_TRUE(path.append(program));
    std::u16string all;
    while (path.next_config()) all += std::u16string(path.text()) + u' ';
    return all;
}

TEST(EfiPath, NamesTheConfigurationFiles) {
    EXPECT_EQ(configs_of(u"\\EFI\\a.b\\xen-4.2-unstable.efi"),
              u"\\EFI\\a.b\\xen-4.2-unstable.cfg \\EFI\\a.b\\xen-4.2.cfg \\EFI\\a.b\\xen-4.cfg "
              u"\\EFI\\a.b\\xen.cfg ");
    EXPECT_EQ(configs_of(u"xenolith.efi"), u"xenolith.cfg ");
    EXPECT_EQ(configs_of(u"\\a.b\\plain"), u"");
    Path path;
    EXPECT_FALSE(path.append(std::u16string(512, u'a')));
    EXPECT_FALSE(path.append("caf\xc3\xa9"sv));
    EXPECT_TRUE(path.append("a/b"sv));
    EXPECT_EQ(path.text(), u"a\\b");
}

TEST(EfiScreen, FindsModesAndColours) {
    EXPECT_EQ(parse_video("gfx-1024x768x24")->bits, 24u);
    EXPECT_EQ(parse_video("gfx-1024x768")->height, 768u);
    for (const auto bad : {"", "gfx-", "text-80x25", "gfx-1024", "gfx-1024x768x24x", "gfx-0x0",
                           "gfx-99999999999999999999x1"})
        EXPECT_FALSE(parse_video(bad)) << bad;
    using Format = GraphicsOutput::Format;
    GraphicsOutput::Info info{0, 640, 480, Format::kBgr, 0, 0, 0, 0, 656};
    const GraphicsOutput::Mode mode{1, 0, &info, sizeof info, 0xc0000000, 0};
    EXPECT_EQ(describe(mode)->red.position, 16);
    EXPECT_EQ(describe(mode)->bytes_per_line, 656u * 4);
    EXPECT_TRUE(VideoMode({640, 480, 24}).matches(info));
    EXPECT_FALSE(VideoMode({640, 480, 16}).matches(info));
    info.format = Format::kMasks;
    info.red = 0x3ff00000, info.green = 0xffc00, info.blue = 0x3ff;
    EXPECT_EQ(describe(mode)->red.bits, 10);
    info.green = 0xffa00;
    EXPECT_FALSE(describe(mode)) << "a mask with a hole";
    info.format = Format::kNoFrameBuffer;
    EXPECT_FALSE(describe(mode));
}

std::vector<uint8_t> image(uint64_t offset, uint64_t physical, uint64_t file, uint64_t memory,
                           uint64_t entry) {
    std::vector<uint8_t> elf(0x300);
    const auto put = [&](size_t at, auto value) { memcpy(&elf[at], &value, sizeof value); };
    memcpy(elf.data(),
           "\x7f"
           "ELF\2\1\1",
           7);
    put(18, uint16_t{62}), put(24, entry), put(32, uint64_t{64});
    put(54, uint16_t{56}), put(56, uint16_t{1});
    put(64, uint32_t{1}), put(72, offset), put(80, uint64_t{0xffff82d040200000});
    put(88, physical), put(96, file), put(104, memory);
    return elf;
}

TEST(EfiPlacement, BelievesOnlyWhatFits) {
    constexpr uint64_t kEntry = 0xffff82d040200010;
    const auto elf = image(0x100, 0x200000, 0x200, 0x5000, kEntry);
    const auto place = find_placement(elf);
    ASSERT_TRUE(place);
    EXPECT_EQ(place->bytes.data(), elf.data() + 0x100);
    EXPECT_EQ(place->bytes.size(), 0x200u);
    EXPECT_EQ(place->start, 0x200000u);
    EXPECT_EQ(place->end(), 0x205000u);
    EXPECT_EQ(place->entry, 0x200010u);
    EXPECT_FALSE(find_placement(image(0x101, 0x200000, 0x200, 0x5000, kEntry)));
    EXPECT_FALSE(find_placement(image(~uint64_t{0}, 0x200000, 0x200, 0x5000, kEntry)));
    EXPECT_FALSE(find_placement(image(0x100, 0x200000, 0x200, 0x100, kEntry)));
    EXPECT_FALSE(find_placement(image(0x100, 0xffffe000, 0x200, 0x5000, kEntry)));
    EXPECT_FALSE(find_placement(image(0x100, 0x200000, 0x200, ~uint64_t{0}, kEntry)));
    EXPECT_FALSE(find_placement(image(0x100, 0x200000, 0x200, 0x5000, kEntry + 0x200)));
    EXPECT_FALSE(find_placement(image(0x100, 0x200000, 0x200, 0x5000, 0)));
    for (size_t n = 0; n < 120; ++n)
        EXPECT_FALSE(find_placement(std::vector<uint8_t>(elf.begin(), elf.begin() + long(n))));
}

MemoryDescriptor memory(MemoryType type, uint64_t start, uint64_t pages) {
    return {static_cast<uint32_t>(type), 0, start, 0, pages, hv::efi::kWriteBack};
}

struct TestMap {
    // Firmware steps over more than the structure.
    struct Entry {
        MemoryDescriptor descriptor;
        uint64_t more;
    };
    std::vector<Entry> entries;
    MemoryMap view() const {
        return {{reinterpret_cast<const uint8_t*>(entries.data()), entries.size() * sizeof(Entry)},
                sizeof(Entry),
                1};
    }
};

const TestMap kMap{{{memory(MemoryType::kBootServicesData, 0x200000, 0x100), 0},
                    {memory(MemoryType::kConventional, 0x100000, 0x100), 0},
                    {memory(MemoryType::kLoaderData, 0x300000, 0x10), 0},
                    {memory(MemoryType::kRuntimeServicesData, 0x310000, 0x10), 0},
                    {memory(MemoryType::kAcpiReclaim, 0x320000, 0x10), 0},
                    {memory(MemoryType::kConventional, ~uint64_t{0} - 0xfff, 0x10), 0},
                    {{uint32_t(MemoryType::kConventional), 0, 0x400000, 0, 1, 1}, 0}}};

TEST(EfiMemoryMap, BecomesE820) {
    std::vector<Region> regions(kMap.entries.size());
    ASSERT_EQ(make_e820(kMap.view(), regions), 4u);
    EXPECT_EQ(regions[0].start, 0x100000u);
    EXPECT_EQ(regions[0].bytes, 0x210000u) << "what is free later, and adjacent, is one";
    EXPECT_EQ(regions[0].type, kRam);
    EXPECT_EQ(regions[1].type, kReserved);
    EXPECT_EQ(regions[2].type, kAcpiData);
    EXPECT_EQ(regions[3].type, kReserved) << "memory that cannot be cached";
    regions.resize(4);
    EXPECT_TRUE(is_free_later(regions, 0x200000, 0x310000));
    EXPECT_FALSE(is_free_later(regions, 0x200000, 0x310001));
    EXPECT_FALSE(is_free_later(regions, 0xff000, 0x200000));
    EXPECT_EQ(make_e820(kMap.view(), regions), 0u) << "no room";
    EXPECT_EQ(MemoryMap({kMap.view().bytes, 8, 1}).size(), 0u);
}

TEST(EfiBootInformation, IsWhatTheHypervisorReads) {
    alignas(8) static uint8_t buffer[8192];
    std::vector<Region> regions(kMap.entries.size());
    std::vector<uint8_t> root(36, 0x5a);
    BootInformation to(buffer);
    to.command_line("console=com1 x");
    to.loader("xenolith.efi");
    to.module(0x1000000, 0x1234, "vmlinuz console=hvc0");
    to.module(0x2000000, 0x10, "initrd");
    to.memory(std::span(regions).first(make_e820(kMap.view(), regions)));
    to.firmware_memory(kMap.view());
    to.system_table(0x12345678);
    to.root_pointer(root);
    to.screen({0x1'8000'0000, 2560, 640, 480, {16, 8}, {8, 8}, {0, 8}});
    ASSERT_TRUE(to.finish());

    static hv::boot::BootInfo info;
    hv::boot::read_boot_info(0x36d76289, reinterpret_cast<uint64_t>(buffer), info);
    EXPECT_EQ(info.trouble, nullptr);
    EXPECT_STREQ(info.command_line, "console=com1 x");
    ASSERT_EQ(info.module_count, 2u);
    EXPECT_EQ(info.modules[0].machine_address, 0x1000000u);
    EXPECT_EQ(info.modules[0].size, 0x1234u);
    EXPECT_EQ(info.modules[0].command_line, "console=hvc0");
    EXPECT_EQ(info.modules[1].command_line, "");
    EXPECT_EQ(info.rsdp_bytes, 36u);
    EXPECT_EQ(info.rsdp_copy[35], 0x5a);
    ASSERT_EQ(hv::boot::memory_map().size(), 4u);
    EXPECT_EQ(hv::boot::memory_map()[0].bytes, 0x210000u);
    EXPECT_EQ(hv::efi::handed_over().table_address, 0x12345678u);
    ASSERT_EQ(hv::efi::memory_descriptors().size(), kMap.entries.size());
    EXPECT_EQ(hv::efi::memory_descriptors()[3].physical_start, 0x310000u);
    ASSERT_NE(hv::boot::screen(), nullptr);
    EXPECT_EQ(hv::boot::screen()->u.vesa_lfb.width, 640);
    EXPECT_EQ(hv::boot::screen()->u.vesa_lfb.ext_lfb_base, 1u);
}

TEST(EfiBootInformation, SaysWhenItDoesNotFit) {
    for (size_t room = 8; room < 8 + 16 + 8; ++room) {
        std::vector<uint64_t> buffer((room + 7) / 8);
        BootInformation to({reinterpret_cast<uint8_t*>(buffer.data()), room});
        to.loader("1234567");
        EXPECT_FALSE(to.finish()) << room;
    }
}

// A firmware with files, for all that is wrong with a configuration.
#define SERVICE __attribute__((ms_abi))
std::map<std::u16string, std::string> files;
std::string console;
size_t pages_out;

struct FakeFile : File {
    std::string* content;
    uint64_t at = 0;
};
SERVICE Status fake_close(File* file) {
    delete static_cast<FakeFile*>(file);
    return 0;
}
SERVICE Status fake_read(File* file, uint64_t* bytes, void* to) {
    auto* f = static_cast<FakeFile*>(file);
    *bytes = std::min<uint64_t>({*bytes, f->content->size() - f->at, 100});
    memcpy(to, f->content->data() + f->at, *bytes);
    f->at += *bytes;
    return 0;
}
SERVICE Status fake_position(File* file, uint64_t* at) {
    *at = static_cast<FakeFile*>(file)->at;
    return 0;
}
SERVICE Status fake_seek(File* file, uint64_t at) {
    auto* f = static_cast<FakeFile*>(file);
    f->at = at == kEndOfFile ? f->content->size() : at;
    return 0;
}
SERVICE Status fake_open(File*, File** to, const char16_t* name, uint64_t, uint64_t) {
    const auto found = files.find(name);
    if (found == files.end()) return kNotFound;
    auto* f = new FakeFile;
    f->open = fake_open, f->close = fake_close, f->read = fake_read;
    f->get_position = fake_position, f->set_position = fake_seek;
    f->content = &found->second;
    *to = f;
    return 0;
}
SERVICE Status fake_volume(FileSystem*, File** to) {
    static std::string none;
    auto* f = new FakeFile;
    f->open = fake_open, f->close = fake_close, f->content = &none;
    *to = f;
    return 0;
}
SERVICE Status fake_protocol(Handle, const Guid* guid, void** to) {
    static FileSystem system{0, fake_volume};
    if (*guid != FileSystem::kGuid) return kNotFound;
    *to = &system;
    return 0;
}
SERVICE Status fake_allocate(uint32_t, MemoryType, uint64_t count, uint64_t* address) {
    if (count > 100) return kErrorBit | 9;
    ++pages_out;
    *address = reinterpret_cast<uint64_t>(aligned_alloc(4096, count * 4096));
    return 0;
}
SERVICE Status fake_free(uint64_t address, uint64_t) {
    --pages_out;
    free(reinterpret_cast<void*>(address));
    return 0;
}
SERVICE Status fake_output(TextOutput*, const char16_t* text) {
    for (; *text; ++text)
        if (*text != u'\r') console += static_cast<char>(*text);
    return 0;
}

/// What is said when the configuration is read; `check` sees the settings, if they are good.
template <class F>
std::string read(std::u16string_view line, F check) {
    BootServices services{};
    services.handle_protocol = fake_protocol;
    services.allocate_pages = fake_allocate;
    services.free_pages = fake_free;
    TextOutput output{nullptr, fake_output};
    SystemTable table{};
    table.boot_time[3] = reinterpret_cast<uint64_t>(&output);
    open_console(table);
    struct [[gnu::packed]] {
        DevicePath node{kMediaPath, kFilePath, 4 + 2 * 8};
        char16_t name[8] = u"\\E\\x.ef";
        DevicePath end{kEndOfPath, 0xff, 4};
    } path;
    LoadedImage image{};
    image.device = &services;
    image.file_path = &path.node;
    console.clear();
    {
        const auto bytes = wide(line);
        const LoadOptions options(bytes);
        const auto folder = Folder::open(services, image, {0, 1});
        EXPECT_TRUE(folder);
        const auto settings = read_settings(*folder, options);
        if (settings) check(*settings);
    }
    open_console(SystemTable{});
    EXPECT_EQ(pages_out, 0u);
    return console;
}
std::string refusal(std::u16string_view line) {
    return read(line, [](const Settings&) { ADD_FAILURE() << "was taken"; });
}

TEST(EfiSettings, ComeFromTheSectionAskedFor) {
    files = {{u"\\E\\x.cfg", std::string(kExample)},
             {u"\\E\\more.cfg", "[far]\nkernel=/k a b\nramdisk=r\nvideo=gfx-1x1\nucode=u\n"}};
    EXPECT_EQ(read(u"",
                   [](const Settings& s) {
                       EXPECT_EQ(s.kernel, "vmlinuz");
                       EXPECT_EQ(s.kernel_line, "root=/dev/sda1 ro");
                       EXPECT_EQ(s.ramdisk, "");
                   }),
              "xenolith.efi: warning: \\E\\x.cfg, line 15 is not understood: strange=1\n"
              "xenolith.efi: warning: \\E\\x.cfg, line 16 is not understood: noise\n");
    EXPECT_NE(read(u"x far",
                   [](const Settings& s) {
                       EXPECT_EQ(s.kernel, "/k");
                       EXPECT_EQ(s.kernel_line, "a b");
                       EXPECT_EQ(s.ramdisk, "r");
                       EXPECT_EQ(s.video, "gfx-1x1");
                   })
                  .find("ucode= has no effect"),
              std::string::npos);
    files = {{u"\\E\\xen.cfg", "kernel=k"}};
    EXPECT_EQ(read(u"", [](const Settings& s) { EXPECT_EQ(s.kernel, "k"); }), "");
}

void expect_refusal(std::u16string_view line, std::string_view words) {
    const std::string said = refusal(line);
    EXPECT_NE(said.find(words), std::string::npos) << said;
}

TEST(EfiSettings, EveryMistakeIsNamed) {
    files = {};
    expect_refusal(u"", "there is no configuration file; put one at \\E\\x.cfg");
    expect_refusal(u"x -cfg=none", "there is no file \\E\\none");
    files = {{u"\\E\\x.cfg", ""}};
    expect_refusal(u"", "\\E\\x.cfg is empty");
    files = {{u"\\E\\x.cfg", std::string(500'000, 'x')}};
    expect_refusal(u"", "has no 489 KiB of memory below 4 GiB for \\E\\x.cfg");
    files = {{u"\\E\\x.cfg", "\xff\xfe[\0a\0]\0"s}};
    expect_refusal(u"", "16-bit characters");
    files = {{u"\\E\\x.cfg", "[a]\noptions=b\n"}};
    expect_refusal(u"", "names no kernel for Domain 0");
    expect_refusal(u"x a", "section [a] of \\E\\x.cfg has no kernel=");
    expect_refusal(u"x b", "has no section [b]");
    expect_refusal(u"x caf\u00e9", "not ASCII");
    files = {{u"\\E\\x.cfg", "kernel=\n"}};
    expect_refusal(u"", "names no file");
    files = {{u"\\E\\x.cfg", "[global]\nchain=x.cfg\ndefault=a"}};
    expect_refusal(u"", "does it lead back?");
    files = {{u"\\E\\x.cfg", "[global]\nchain=y.cfg\ndefault=a"}};
    expect_refusal(u"", "there is no file \\E\\y.cfg; put it there, or correct chain=");
    files = {{u"\\E\\x.cfg", "kernel=k\nxsm=p\n"}};
    expect_refusal(u"", "security policy");
}

}  // namespace
}  // namespace efi

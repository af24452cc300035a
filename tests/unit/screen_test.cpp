// The screen: what is known of it from the loader or the BIOS, and text on it.
#include "hv/x86/console/screen.hpp"

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "hv/x86/boot/screen.hpp"
#include "hv/x86/console/font.hpp"

namespace hv::console {
namespace {

/// VGA's text memory, with a margin that nobody may touch.
struct TextMemory {
    static constexpr unsigned kColumns = 10, kRows = 4;
    std::vector<uint8_t> bytes = std::vector<uint8_t>(kColumns * kRows * 2 + 64, 0xee);
    Screen screen;

    TextMemory() {
        screen.open({.text = true,
                     .columns = kColumns,
                     .rows = kRows,
                     .memory = bytes.data(),
                     .bytes_per_line = kColumns * 2});
    }
    void print(std::string_view text) {
        for (char c : text) screen.put(c);
    }
    std::string row(unsigned n) const {
        std::string text;
        for (unsigned c = 0; c < kColumns; ++c)
            text += static_cast<char>(bytes[(n * kColumns + c) * 2]);
        return text.substr(0, text.find_last_not_of(' ') + 1);
    }
    bool margin_is_whole() const {
        for (size_t n = kColumns * kRows * 2; n < bytes.size(); ++n)
            if (bytes[n] != 0xee) return false;
        return true;
    }
};

TEST(Screen, TextGoesOnTheNextLineAndScrolls) {
    TextMemory m;
    m.print("one\ntwo, longer than a row");
    EXPECT_EQ(m.row(0), "one");
    EXPECT_EQ(m.row(1), "two, longe");
    EXPECT_EQ(m.row(2), "r than a r");
    EXPECT_EQ(m.row(3), "ow");
    m.print("\nnext");
    EXPECT_EQ(m.row(0), "two, longe");
    EXPECT_EQ(m.row(3), "next");
    EXPECT_EQ(m.bytes[1], 7) << "grey on black";
    for (int i = 0; i < 100; ++i) m.print("a line of text\n");
    EXPECT_TRUE(m.margin_is_whole());
}

TEST(Screen, ControlsAndOtherCharacters) {
    TextMemory m;
    m.print("abcdef\rAB\n\tx\n\x1b…é\x01");
    EXPECT_EQ(m.row(0), "ABcdef");
    EXPECT_EQ(m.row(1), "        x");
    EXPECT_EQ(m.row(2), "????") << "one for each character";
    m.print("\n12345678\t9");
    EXPECT_EQ(m.row(2), "12345678");
    EXPECT_EQ(m.row(3), "9");
}

TEST(Screen, NothingIsWrittenWhileItIsDomain0s) {
    TextMemory m;
    m.print("before");
    m.screen.close();
    std::fill(m.bytes.begin(), m.bytes.end() - 64, 'D');
    m.print("meanwhile");
    EXPECT_EQ(m.row(0), "DDDDDDDDDD");
    m.screen.reopen();
    m.print("panic");
    EXPECT_EQ(m.row(0), "panic");
    EXPECT_EQ(m.row(1), "");
    m.screen.reopen();  // it is open: what is there stays
    EXPECT_EQ(m.row(0), "panic");
    Screen never;
    never.reopen();
    EXPECT_FALSE(never.is_open());
    never.put('x');
}

/// The picture of `c` at a field, as rows of bits.
std::array<uint8_t, kGlyphRows> field(const std::vector<uint8_t>& pixels, size_t line,
                                      unsigned bytes, unsigned x, unsigned y) {
    std::array<uint8_t, kGlyphRows> rows{};
    for (unsigned dy = 0; dy < kGlyphRows; ++dy)
        for (unsigned dx = 0; dx < kGlyphColumns; ++dx)
            if (pixels[(y + dy) * line + (x + dx) * bytes] & 0x10) rows[dy] |= 0x80 >> dx;
    return rows;
}

dom0_vga_console_info pixels_of(uint8_t bits, uint16_t line) {
    dom0_vga_console_info info{};
    info.video_type = XEN_VGATYPE_VESA_LFB;
    auto& lfb = info.u.vesa_lfb;
    lfb.width = 43, lfb.height = 50, lfb.bytes_per_line = line, lfb.bits_per_pixel = bits;
    lfb.lfb_base = 0xfd000000, lfb.ext_lfb_base = 1;
    lfb.blue_size = bits == 16 ? 5 : 8;
    lfb.green_pos = lfb.blue_size, lfb.green_size = bits == 16 ? 6 : 8;
    lfb.red_pos = static_cast<uint8_t>(lfb.green_pos + lfb.green_size),
    lfb.red_size = lfb.blue_size;
    return info;
}

TEST(Screen, LettersArePaintedInEachDepth) {
    for (const unsigned bits : {16, 24, 32}) {
        const auto info = pixels_of(static_cast<uint8_t>(bits), 200);
        Surface surface;
        ASSERT_TRUE(describe_surface(info, surface)) << bits;
        EXPECT_EQ(surface_address(info), 0x1fd000000u);
        EXPECT_EQ(surface.columns, 5u);
        EXPECT_EQ(surface.rows, 3u);
        ASSERT_EQ(surface_bytes(surface), 200u * 48);
        std::vector<uint8_t> pixels(200 * 48 + 64, 0xee);  // what lies behind is another's
        surface.memory = pixels.data();
        Screen screen;
        screen.open(surface);
        for (char c : std::string_view("1\n2\n3\n4A")) screen.put(c);
        const unsigned bytes = bits / 8;
        const auto at = [&](unsigned column, unsigned row) {
            return field(pixels, 200, bytes, column * 8, row * 16);
        };
        const auto is = [](char c) { return std::to_array(kFont[c - kFirstGlyph]); };
        EXPECT_EQ(at(0, 0), is('2')) << bits;
        EXPECT_EQ(at(0, 2), is('4')) << bits;
        EXPECT_EQ(at(1, 2), is('A')) << bits;
        EXPECT_EQ(at(2, 2), is(' ')) << bits;
        EXPECT_EQ(pixels[200 * 48], 0xee);
        EXPECT_EQ(pixels[5 * 8 * bytes], 0xee) << "right of the last whole letter";
    }
}

TEST(Screen, OneThatCannotBeWrittenOn) {
    Surface surface;
    EXPECT_FALSE(describe_surface(pixels_of(8, 200), surface));
    EXPECT_FALSE(describe_surface(pixels_of(32, 100), surface)) << "lines overlap";
    auto info = pixels_of(32, 200);
    info.u.vesa_lfb.width = 7;
    EXPECT_FALSE(describe_surface(info, surface));
    info = pixels_of(32, 200);
    info.u.vesa_lfb.red_size = info.u.vesa_lfb.green_size = info.u.vesa_lfb.blue_size = 0;
    EXPECT_FALSE(describe_surface(info, surface)) << "nothing could be seen";
    info = {};
    info.video_type = XEN_VGATYPE_TEXT_MODE_3;
    info.u.text_mode_3.columns = 200, info.u.text_mode_3.rows = 200;
    EXPECT_FALSE(describe_surface(info, surface)) << "more than VGA's text memory";
    info.u.text_mode_3.columns = 80, info.u.text_mode_3.rows = 25;
    EXPECT_TRUE(describe_surface(info, surface));
    EXPECT_EQ(surface_address(info), 0xb8000u);
    EXPECT_EQ(surface_bytes(surface), 4000u);
    info.video_type = 77;
    EXPECT_FALSE(describe_surface(info, surface));
}

TEST(Screen, LargerThanTheGridIsUsedInPart) {
    constexpr unsigned kColumns = 1000, kRows = 3;
    std::vector<uint8_t> bytes(kColumns * kRows * 2, 0xee);
    Screen screen;
    screen.open({.text = true,
                 .columns = kColumns,
                 .rows = kRows,
                 .memory = bytes.data(),
                 .bytes_per_line = kColumns * 2});
    for (int i = 0; i < 5000; ++i) screen.put('x');
    EXPECT_EQ(bytes[0], 'x');
    EXPECT_EQ(bytes[(kColumns - 1) * 2], 0xee);
}

/// The BIOS's data area after a boot in 80 x 25.
std::vector<uint8_t> data_area() {
    std::vector<uint8_t> area(256);
    area[0x49] = 3, area[0x4a] = 80, area[0x50] = 4, area[0x51] = 7, area[0x84] = 24,
    area[0x85] = 16;
    return area;
}

TEST(BiosScreen, OnlyTextModeIsTaken) {
    const auto refused = [](auto change) {
        auto area = data_area();
        change(area);
        boot::note_bios_screen(area);
        return boot::screen() == nullptr;
    };
    EXPECT_TRUE(refused([](auto& a) { a.resize(0x80); }));
    EXPECT_TRUE(refused([](auto& a) { a[0x49] = 0x12; })) << "graphics";
    EXPECT_TRUE(refused([](auto& a) { a[0x49] = 0; })) << "no VGA BIOS has run";
    EXPECT_TRUE(refused([](auto& a) { a[0x4b] = 1; })) << "336 columns";
    EXPECT_TRUE(refused([](auto& a) { a[0x84] = 200; }));
    EXPECT_TRUE(refused([](auto& a) { a[0x85] = 0; }));
    boot::note_bios_screen(data_area());
    const dom0_vga_console_info* info = boot::screen();
    ASSERT_NE(info, nullptr);
    EXPECT_EQ(info->video_type, XEN_VGATYPE_TEXT_MODE_3);
    EXPECT_EQ(info->u.text_mode_3.rows, 25);
    EXPECT_EQ(info->u.text_mode_3.columns, 80);
    EXPECT_EQ(info->u.text_mode_3.font_height, 16);
    EXPECT_EQ(info->u.text_mode_3.cursor_x, 4);
    EXPECT_EQ(info->u.text_mode_3.cursor_y, 7);
}

}  // namespace
}  // namespace hv::console

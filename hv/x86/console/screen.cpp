#include "hv/x86/console/screen.hpp"

#include <algorithm>

#include "hv/x86/console/font.hpp"

namespace hv::console {
namespace {

constexpr uint64_t kTextMemory = 0xb8000;
constexpr size_t kTextMemoryBytes = 0x8000;
constexpr uint16_t kGrey = 7 << 8;  // on black

bool is_pixels(const dom0_vga_console_info& screen) {
    return screen.video_type == XEN_VGATYPE_VESA_LFB || screen.video_type == XEN_VGATYPE_EFI_LFB;
}

/// One colour at three quarters of its brightness.
uint32_t shade(unsigned position, unsigned bits) {
    if (bits == 0 || bits > 16 || position + bits > 32) return 0;
    return static_cast<uint32_t>(uint64_t{((1u << bits) - 1) * 3 / 4} << position);
}

bool describe_text(const dom0_vga_console_info& screen, Surface& surface) {
    const auto& mode = screen.u.text_mode_3;
    surface.text = true;
    surface.columns = mode.columns;
    surface.rows = mode.rows;
    surface.bytes_per_line = size_t{mode.columns} * 2;
    return mode.columns && mode.rows && surface_bytes(surface) <= kTextMemoryBytes;
}

bool describe_pixels(const dom0_vga_console_info& screen, Surface& surface) {
    const auto& mode = screen.u.vesa_lfb;
    surface.text = false;
    surface.columns = mode.width / kGlyphColumns;
    surface.rows = mode.height / kGlyphRows;
    surface.bytes_per_line = mode.bytes_per_line;
    surface.bytes_per_pixel = (mode.bits_per_pixel + 7u) / 8;
    surface.ink = shade(mode.red_pos, mode.red_size) | shade(mode.green_pos, mode.green_size) |
                  shade(mode.blue_pos, mode.blue_size);
    return mode.bits_per_pixel >= 15 && mode.bits_per_pixel <= 32 && surface.columns &&
           surface.rows && surface.ink &&
           surface.bytes_per_line >= size_t{mode.width} * surface.bytes_per_pixel;
}

}  // namespace

bool describe_surface(const dom0_vga_console_info& screen, Surface& surface) {
    surface = {};
    if (screen.video_type == XEN_VGATYPE_TEXT_MODE_3) return describe_text(screen, surface);
    return is_pixels(screen) && describe_pixels(screen, surface);
}

uint64_t surface_address(const dom0_vga_console_info& screen) {
    if (!is_pixels(screen)) return kTextMemory;
    return uint64_t{screen.u.vesa_lfb.ext_lfb_base} << 32 | screen.u.vesa_lfb.lfb_base;
}

size_t surface_bytes(const Surface& surface) {
    return surface.bytes_per_line * surface.rows * (surface.text ? 1 : kGlyphRows);
}

void Screen::open(const Surface& surface) {
    surface_ = surface;
    columns_ = std::min(surface.columns, kMaxColumns);
    rows_ = std::min(surface.rows, kMaxRows);
    open_ = true;
    clear();
}

void Screen::reopen() {
    if (open_ || columns_ == 0) return;
    open_ = true;
    clear();
}

void Screen::clear() {
    for (unsigned row = 0; row < rows_; ++row) {
        for (unsigned column = 0; column < columns_; ++column) {
            cells_[row][column] = '\0';  // something else may be there
            set(row, column, ' ');
        }
    }
    row_ = column_ = 0;
}

void Screen::set(unsigned row, unsigned column, char c) {
    if (cells_[row][column] == c) return;
    cells_[row][column] = c;
    if (surface_.text) return draw_text(row, column, c);
    if (surface_.bytes_per_pixel == 4) return draw_pixels<4>(row, column, c);
    if (surface_.bytes_per_pixel == 3) return draw_pixels<3>(row, column, c);
    draw_pixels<2>(row, column, c);
}

void Screen::draw_text(unsigned row, unsigned column, char c) const {
    uint8_t* line = surface_.memory + row * surface_.bytes_per_line;
    const auto cell = static_cast<uint16_t>(kGrey | static_cast<uint8_t>(c));
    __builtin_memcpy(line + size_t{column} * 2, &cell, sizeof cell);
}

template <unsigned kBytesPerPixel>
void Screen::draw_pixels(unsigned row, unsigned column, char c) const {
    uint8_t* line = surface_.memory + size_t{row} * kGlyphRows * surface_.bytes_per_line +
                    size_t{column} * kGlyphColumns * kBytesPerPixel;
    for (const uint8_t bits : kFont[c - kFirstGlyph]) {
        for (unsigned x = 0; x < kGlyphColumns; ++x) {
            const uint32_t pixel = bits & (0x80 >> x) ? surface_.ink : 0;
            __builtin_memcpy(line + size_t{x} * kBytesPerPixel, &pixel, kBytesPerPixel);
        }
        line += surface_.bytes_per_line;
    }
}

void Screen::new_line() {
    column_ = 0;
    if (++row_ < rows_) return;
    row_ = rows_ - 1;
    for (unsigned row = 0; row < rows_; ++row)
        for (unsigned column = 0; column < columns_; ++column)
            set(row, column, row + 1 < rows_ ? cells_[row + 1][column] : ' ');
}

void Screen::put(char c) {
    if (!open_) return;
    constexpr unsigned kTab = 8;
    if (c == '\n') return new_line();
    if (c == '\r') {
        column_ = 0;
        return;
    }
    if (c == '\t') {
        do put(' ');
        while (column_ % kTab && column_ < columns_);
        return;
    }
    const auto byte = static_cast<uint8_t>(c);
    if ((byte & 0xc0) == 0x80) return;  // goes on with a character that was told by its first byte
    if (column_ == columns_) new_line();
    set(row_, column_++, c >= kFirstGlyph && c <= kLastGlyph ? c : '?');
}

}  // namespace hv::console

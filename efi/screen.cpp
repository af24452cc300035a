#include "efi/screen.hpp"

#include <bit>

namespace efi {
namespace {

/// Of one unbroken run of bits.
std::optional<Screen::Colour> colour(uint32_t mask) {
    if (!mask) return {};
    const int position = std::countr_zero(mask), bits = std::countr_one(mask >> position);
    if (position + bits != 32 - std::countl_zero(mask)) return {};
    return Screen::Colour{static_cast<uint8_t>(position), static_cast<uint8_t>(bits)};
}

uint32_t cut_number(std::string_view& text) {
    constexpr uint32_t kTooMuch = 100'000;
    uint32_t number = 0;
    while (!text.empty() && text[0] >= '0' && text[0] <= '9' && number < kTooMuch) {
        number = number * 10 + static_cast<uint32_t>(text[0] - '0');
        text.remove_prefix(1);
    }
    return number;
}

bool cut_x(std::string_view& text) {
    if (!text.starts_with('x')) return false;
    text.remove_prefix(1);
    return true;
}

}  // namespace

std::optional<Screen> describe(const GraphicsOutput::Mode& mode) {
    using Format = GraphicsOutput::Format;
    const GraphicsOutput::Info& info = *mode.info;
    Screen screen{.address = mode.frame_buffer,
                  .bytes_per_line = info.pixels_per_line * 4,
                  .width = info.width,
                  .height = info.height,
                  .red = {0, 8},
                  .green = {8, 8},
                  .blue = {16, 8}};
    switch (info.format) {
        case Format::kRgb:
            return screen;
        case Format::kBgr:
            screen.red = {16, 8}, screen.blue = {0, 8};
            return screen;
        case Format::kMasks: {
            const auto red = colour(info.red), green = colour(info.green), blue = colour(info.blue);
            // Other depths would need another distance from pixel to pixel.
            const bool whole = std::bit_width(info.red | info.green | info.blue | info.unused) > 24;
            if (!red || !green || !blue || !whole) return {};
            screen.red = *red, screen.green = *green, screen.blue = *blue;
            return screen;
        }
        default:
            return {};
    }
}

bool VideoMode::matches(const GraphicsOutput::Info& info) const {
    using Format = GraphicsOutput::Format;
    if (info.width != width || info.height != height) return false;
    if (info.format == Format::kMasks)
        return !bits ||
               bits == static_cast<uint32_t>(std::popcount(info.red | info.green | info.blue));
    return (info.format == Format::kRgb || info.format == Format::kBgr) && (!bits || bits == 24);
}

std::optional<VideoMode> parse_video(std::string_view text) {
    constexpr std::string_view kPrefix = "gfx-";
    if (!text.starts_with(kPrefix)) return {};
    text.remove_prefix(kPrefix.size());
    VideoMode mode;
    mode.width = cut_number(text);
    if (!cut_x(text)) return {};
    mode.height = cut_number(text);
    if (cut_x(text)) mode.bits = cut_number(text);
    if (!text.empty() || !mode.width || !mode.height) return {};
    return mode;
}

}  // namespace efi

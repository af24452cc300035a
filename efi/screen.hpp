// The graphics output: which mode to take, and its frame buffer as Domain 0's kernel is told of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "efi/firmware.hpp"

namespace efi {

struct Screen {
    struct Colour {
        uint8_t position, bits;
    };
    uint64_t address;
    uint32_t bytes_per_line, width, height;
    Colour red, green, blue;
};

/// Nothing, if the mode has no frame buffer or colours that are not one piece each.
std::optional<Screen> describe(const GraphicsOutput::Mode& mode);

/// The configuration's `video=gfx-WIDTHxHEIGHT[xBITS]`.
struct VideoMode {
    uint32_t width = 0, height = 0;
    uint32_t bits = 0;  ///< that are colour; 0: any

    bool matches(const GraphicsOutput::Info& info) const;
};
std::optional<VideoMode> parse_video(std::string_view text);

}  // namespace efi

// The letters on the screen: 8 x 16 pixels, a byte for each row of them, the left pixel in bit 7.
#pragma once

#include <cstdint>

namespace hv::console {

inline constexpr unsigned kGlyphColumns = 8, kGlyphRows = 16;
inline constexpr char kFirstGlyph = ' ', kLastGlyph = '~';
extern const uint8_t kFont[kLastGlyph - kFirstGlyph + 1][kGlyphRows];

}  // namespace hv::console

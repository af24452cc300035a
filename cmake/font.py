#!/usr/bin/env python3
"""The screen's letters as C++ source, from a console font in Linux's PSF 1 format (8 pixels wide, with its table of Unicode).

  font.py FONT.psfu.gz OUTPUT
"""

import gzip
import struct
import sys

FIRST, LAST = 0x20, 0x7e  # what the hypervisor prints
MAGIC, HAS_512, HAS_TABLE = 0x0436, 1, 2
END_OF_GLYPH, SEQUENCE = 0xffff, 0xfffe


def glyphs(data: bytes) -> tuple[int, dict[int, bytes]]:
    """The height, and the picture of each character that stands alone in the table."""
    magic, mode, height = struct.unpack_from("<HBB", data)
    if magic != MAGIC or not mode & HAS_TABLE:
        sys.exit("font.py: not a PSF 1 font with a table of Unicode")
    count = 512 if mode & HAS_512 else 256
    table = struct.unpack_from(f"<{(len(data) - 4 - count * height) // 2}H", data, 4 + count * height)
    found, at = {}, 0
    for n in range(count):
        alone = True
        while (code := table[at]) != END_OF_GLYPH:
            alone &= code != SEQUENCE
            if alone:
                found[code] = data[4 + n * height : 4 + (n + 1) * height]
            at += 1
        at += 1
    return height, found


def main() -> None:
    with gzip.open(sys.argv[1]) as f:
        height, found = glyphs(f.read())
    missing = [chr(c) for c in range(FIRST, LAST + 1) if c not in found]
    if missing or height != 16:
        sys.exit(f"font.py: the font is {height} high and lacks {missing}")
    rows = "".join(f"    {{{', '.join(f'0x{b:02x}' for b in found[c])}}},\n" for c in range(FIRST, LAST + 1))
    with open(sys.argv[2], "w") as f:
        f.write(f'// Made by cmake/font.py.\n#include "hv/x86/console/font.hpp"\n\nnamespace hv::console {{\n\n'
                f"const uint8_t kFont[kLastGlyph - kFirstGlyph + 1][kGlyphRows] = {{\n{rows}}};\n\n}}  // namespace hv::console\n")


if __name__ == "__main__":
    main()

"""What a program needs to run: the DT_NEEDED names of ELF files, read without any tool."""

import os
import struct
from pathlib import Path

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB = 1, 5


def needed(file: Path) -> list[str]:
    """The libraries that a 64-bit little-endian ELF file names; none for other files."""
    data = file.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        return []
    phoff, phsize, phnum = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQ", data, phoff + i * phsize) for i in range(phnum)]
    loads = [(va, off, size) for kind, _, off, va, _, size in headers if kind == _PT_LOAD]

    def offset(va: int) -> int:
        return next(o + va - v for v, o, s in loads if v <= va < v + s)

    for kind, _, off, _, _, size in headers:
        if kind == _PT_DYNAMIC:
            entries = [struct.unpack_from("<QQ", data, off + i) for i in range(0, size, 16)]
            table = offset(next(v for t, v in entries if t == _DT_STRTAB))
            start = [table + v for t, v in entries if t == _DT_NEEDED]
            return [data[s : data.index(b"\0", s)].decode() for s in start]
    return []


class Libraries:
    """Finds libraries in an unpacked tree of packages, with all that they need themselves."""

    DIRS = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64",
            "usr/lib/xen-4.17/lib/x86_64-linux-gnu")

    def __init__(self, root: Path):
        self.root = root
        self.found: dict[str, Path] = {}
        self.missing: set[str] = set()

    def add(self, program: Path) -> None:
        """What a program needs; call it for everything that goes into an image."""
        for name in needed(program):
            self.add_name(name)

    def add_name(self, name: str) -> None:
        if name in self.found or name in self.missing:
            return
        path = next((p for d in self.DIRS if (p := self.root / d / name).exists()), None)
        if path is None:
            self.missing.add(name)
            return
        self.found[name] = path
        self.add(Path(os.path.realpath(path)))

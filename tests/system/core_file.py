"""A guest's memory as `xl dump-core` writes it: an ELF file with sections of Xen's own."""

import struct
from pathlib import Path

PAGE = 4096
# Notes of the section .note.Xen, owner "Xen".
NONE, HEADER, XEN_VERSION, FORMAT_VERSION = range(0x2000000, 0x2000004)
PV_MAGIC = 0xF00FEBED


class Core:
    """Reads the file's parts as they are asked for; raises ValueError where it is not what it says."""

    def __init__(self, file: Path):
        self.file = file
        with open(file, "rb") as f:
            head = f.read(64)
            if head[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<HH", head, 16) != (4, 62):
                raise ValueError(f"no ELF core of x86-64: {head[:20].hex()}")
            where, = struct.unpack_from("<Q", head, 40)
            size, count, names = struct.unpack_from("<HHH", head, 58)
            f.seek(where)
            table = f.read(size * count)
            headers = [struct.unpack_from("<IIQQQQ", table, n * size) for n in range(count)]
            f.seek(headers[names][4])
            strings = f.read(headers[names][5])
        self.sections = {strings[h[0] : strings.index(b"\0", h[0])].decode(): (h[4], h[5]) for h in headers}

    def section(self, name: str) -> bytes:
        at, size = self.sections[name]
        with open(self.file, "rb") as f:
            f.seek(at)
            data = f.read(size)
        if len(data) != size:
            raise ValueError(f"the file ends in {name}")
        return data

    def notes(self) -> dict[int, bytes]:
        data, at, found = self.section(".note.Xen"), 0, {}
        while at < len(data):
            owner, size, kind = struct.unpack_from("<III", data, at)
            at += 12 + (owner + 3) // 4 * 4
            found[kind] = data[at : at + size]
            at += (size + 3) // 4 * 4
        return found

    def header(self) -> tuple[int, int, int, int]:
        """Magic number, vCPUs, pages, bytes of a page."""
        return struct.unpack("<QQQQ", self.notes()[HEADER])

    def p2m(self) -> list[tuple[int, int]]:
        """Of each page in the file, in its order: the guest's frame number and the machine's."""
        return list(struct.iter_unpack("<QQ", self.section(".xen_p2m")))

    def page(self, index: int) -> bytes:
        at, size = self.sections[".xen_pages"]
        if (index + 1) * PAGE > size:
            raise ValueError(f"there is no page {index}")
        with open(self.file, "rb") as f:
            f.seek(at + index * PAGE)
            return f.read(PAGE)

    def find(self, content: bytes) -> list[int]:
        """Which pages hold exactly this."""
        at, size = self.sections[".xen_pages"]
        with open(self.file, "rb") as f:
            f.seek(at)
            return [n for n in range(size // PAGE) if f.read(PAGE) == content]

"""Debian's kernel: its image, and its modules with what they need, read off the modules."""

import lzma
import re
import struct
from pathlib import Path

from . import apt, paths, ui
from .errors import Failure
from .stamps import Stamp, digest

META_PACKAGE = "linux-image-amd64"
_stamp = Stamp("kernel", digest(META_PACKAGE, 1), [paths.KERNEL / "boot"])


def fetch() -> None:
    """Unpacks the kernel package into the cache, unless it is there."""
    if _stamp.fresh():
        return
    _stamp.clear()
    name = apt.dependency(META_PACKAGE, r"linux-image-[0-9]\S+")
    ui.note(f"fetching Debian's kernel ({name})")
    for deb in apt.download([name]):
        apt.extract(deb, paths.KERNEL)
    _stamp.mark()


def image() -> Path:
    return max((paths.KERNEL / "boot").glob("vmlinuz-*"))


def unpacked() -> bytes:
    """The ELF file that the bzImage carries packed: for guests, whose builder in Domain 0 would
    otherwise unpack it at each start, ten seconds on an emulated CPU."""
    data = image().read_bytes()
    # Linux's boot protocol: 512-byte sectors of set-up code, and where behind them the payload is.
    sectors, offset, length = data[0x1F1] or 4, *struct.unpack_from("<II", data, 0x248)
    start = (sectors + 1) * 512 + offset
    try:
        elf = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data[start : start + length])
    except lzma.LZMAError:
        elf = b""
    if not elf.startswith(b"\x7fELF"):
        raise Failure(f"kernel {version()} is not packed with XZ", "scripts/xenolith/kernel.py knows no other way yet")
    return elf


def version() -> str:
    return image().name.removeprefix("vmlinuz-")


def _modules() -> dict[str, Path]:
    tree = paths.KERNEL / "lib/modules" / version()
    return {p.stem.replace("-", "_"): p for p in tree.rglob("*.ko")}


def _info(module: Path, key: str) -> str:
    """One field of the `.modinfo` section: strings `key=value`, each ended by a zero."""
    m = re.search(rb"\0" + key.encode() + rb"=([^\0]*)\0", module.read_bytes())
    return m[1].decode() if m else ""


def with_dependencies(names: list[str]) -> list[Path]:
    """These modules and all they need, in the order in which they have to be loaded."""
    index, order = _modules(), []

    def visit(name: str) -> None:
        name = name.replace("-", "_")
        if name not in index:
            raise Failure(f"kernel {version()} has no module {name}",
                          "scripts/xenolith names a module that this kernel has not")
        path = index[name]
        if path in order:
            return
        for need in filter(None, _info(path, "depends").split(",")):
            visit(need)
        order.append(path)

    for name in names:
        visit(name)
    return order


def modules_dep(modules: list[Path]) -> str:
    """A modules.dep for modules that lie flat in one directory, so that modprobe works too."""
    lines = []
    for m in modules:
        needs = [p.name for p in with_dependencies([m.stem]) if p != m]
        lines.append(f"{m.name}: {' '.join(reversed(needs))}".rstrip())
    return "\n".join(lines) + "\n"

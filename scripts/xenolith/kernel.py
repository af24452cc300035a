"""A kernel of Debian's: its image, and its modules with what they need, read off the modules."""

import functools
import lzma
import re
import struct
import subprocess
import threading
import zlib
from pathlib import Path

from . import apt, paths, ui
from .errors import Failure
from .stamps import Stamp, digest

# How a kernel's payload begins, by what packed it, and the program that unpacks it (docs/dependencies.md).
_PROGRAMS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4"}
_fetching = threading.Lock()


class Kernel:
    """The newest of a meta package, from this machine's Debian or from another release."""

    def __init__(self, package: str, where: Path, release: str | None = None):
        self.package, self.where, self.release = package, where, release
        key = digest(package, release, 1) if release else digest(package, 1)
        self._stamp = Stamp(where.name, key, [where / "boot"])

    def fetch(self) -> None:
        """Unpacks the kernel's package into the cache, unless it is there."""
        with _fetching:  # machines of several suites are prepared at the same time
            if not self._stamp.fresh():
                self._fetch()

    def _fetch(self) -> None:
        self._stamp.clear()
        name = apt.dependency(self.package, r"linux-image-[0-9]\S+", self.release)
        ui.note(f"fetching Debian's kernel ({name})")
        for deb in apt.download([name], self.release):
            apt.extract(deb, self.where)
        self._stamp.mark()

    def image(self) -> Path:
        return max((self.where / "boot").glob("vmlinuz-*"))

    def version(self) -> str:
        return self.image().name.removeprefix("vmlinuz-")

    def unpacked(self) -> bytes:
        """The ELF file that the bzImage carries packed: for guests, whose builder in Domain 0 would
        otherwise unpack it at each start, ten seconds on an emulated CPU."""
        data = self.image().read_bytes()
        # Linux's boot protocol: 512-byte sectors of set-up code, and where behind them the payload is.
        sectors, offset, length = data[0x1F1] or 4, *struct.unpack_from("<II", data, 0x248)
        start = (sectors + 1) * 512 + offset
        elf = _unpack(data[start : start + length])
        if not elf.startswith(b"\x7fELF"):
            raise Failure(f"kernel {self.version()} could not be unpacked", "XZ, gzip, zstd and lz4 are known")
        return elf

    def _tree(self) -> Path:
        """Debian 13's package has it in /usr."""
        where = "usr/lib" if (self.where / "usr/lib/modules").exists() else "lib"
        return self.where / where / "modules" / self.version()

    @functools.cached_property
    def _modules(self) -> dict[str, Path]:
        """By name; a module that is packed stands with its packed file."""
        return {p.name.split(".ko")[0].replace("-", "_"): p for p in self._tree().rglob("*.ko*")}

    @functools.cached_property
    def _builtin(self) -> set[str]:
        text = (self._tree() / "modules.builtin").read_text()
        return {Path(line).stem.replace("-", "_") for line in text.split()}

    def with_dependencies(self, names: list[str]) -> list[Path]:
        """These modules and all they need, unpacked, in the order in which they have to be loaded."""
        order = []

        def visit(name: str) -> None:
            name = name.replace("-", "_")
            if name in self._builtin:
                return
            if name not in self._modules:
                raise Failure(f"kernel {self.version()} has no module {name}",
                              "scripts/xenolith names a module that this kernel has not")
            path = self._modules[name] = _plain(self._modules[name])
            if path in order:
                return
            for need in filter(None, _info(path, "depends").split(",")):
                visit(need)
            order.append(path)

        for name in names:
            visit(name)
        return order

    def modules_dep(self, modules: list[Path]) -> str:
        """A modules.dep for modules that lie flat in one directory, so that modprobe works too."""
        lines = []
        for m in modules:
            needs = [p.name for p in self.with_dependencies([m.stem]) if p != m]
            lines.append(f"{m.name}: {' '.join(reversed(needs))}".rstrip())
        return "\n".join(lines) + "\n"


DEBIAN = Kernel("linux-image-amd64", paths.KERNEL)


def _unpack(payload: bytes) -> bytes:
    """b"" if that is not possible. Behind what was packed may stand four bytes with its size."""
    if payload.startswith(b"\xfd7zXZ"):
        try:
            return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
        except lzma.LZMAError:
            return b""
    if payload.startswith(b"\x1f\x8b"):
        try:
            return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(payload)
        except zlib.error:
            return b""
    if program := _PROGRAMS.get(payload[:4]):
        return subprocess.run([program, "-dcq"], input=payload, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return b""


def _plain(module: Path) -> Path:
    """The module's file, unpacked in its place if it was packed."""
    if module.suffix != ".xz":
        return module
    plain = module.with_suffix("")
    if not plain.exists():
        part = module.with_suffix(".part")
        part.write_bytes(lzma.decompress(module.read_bytes()))
        part.rename(plain)
    return plain


def _info(module: Path, key: str) -> str:
    """One field of the `.modinfo` section: strings `key=value`, each ended by a zero."""
    m = re.search(rb"\0" + key.encode() + rb"=([^\0]*)\0", module.read_bytes())
    return m[1].decode() if m else ""

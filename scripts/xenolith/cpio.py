"""Writes initramfs archives (cpio, `newc`): everything owned by root, device nodes without root."""

import gzip
import os
import stat
from pathlib import Path


class Archive:
    """An archive in memory. Paths are absolute, as they will be in the running system."""

    def __init__(self):
        self._out = bytearray()
        self._inode = 0
        self._dirs: set[str] = {"/"}

    def _member(self, name: str, mode: int, data: bytes = b"", rdev=(0, 0)) -> None:
        self._inode += 1
        raw = name.strip("/").encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (self._inode, mode, 0, 0, links, 0, len(data), 0, 0, *rdev, len(raw), 0)
        self._out += b"070701" + b"".join(b"%08X" % f for f in fields) + raw
        self._pad()
        self._out += data
        self._pad()

    def _pad(self) -> None:
        self._out += bytes(-len(self._out) % 4)

    def directory(self, path: str, mode: int = 0o755) -> None:
        """A directory with all its parents; one that is there already stays as it is."""
        path = path.rstrip("/")
        if path and path not in self._dirs:
            self.directory(os.path.dirname(path))
            self._dirs.add(path)
            self._member(path, stat.S_IFDIR | mode)

    def link(self, path: str, target: str) -> None:
        self.directory(os.path.dirname(path))
        self._member(path, stat.S_IFLNK | 0o777, target.encode())

    def data(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self.directory(os.path.dirname(path))
        self._member(path, stat.S_IFREG | mode, content)

    def node(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        self.directory(os.path.dirname(path))
        self._member(path, stat.S_IFCHR | mode, rdev=(major, minor))

    def file(self, path: str, source: Path, mode: int | None = None) -> None:
        """One file; what `source` links to, not the link."""
        status = source.stat()
        self.data(path, source.read_bytes(), mode or stat.S_IMODE(status.st_mode))

    def tree(self, path: str, source: Path) -> None:
        """A directory with everything in it; links stay links."""
        self.directory(path)
        for entry in sorted(source.iterdir()):
            inside = f"{path.rstrip('/')}/{entry.name}"
            if entry.is_symlink():
                self.link(inside, os.readlink(entry))
            elif entry.is_dir():
                self.tree(inside, entry)
            elif entry.is_file():
                self.file(inside, entry)

    def bytes(self, align: int = 512) -> bytes:
        """The finished archive. Several may follow one another in one initramfs."""
        self._member("TRAILER!!!", 0)
        self._out += bytes(-len(self._out) % align)
        return bytes(self._out)

    def write(self, out: Path, level: int = 1) -> None:
        """Compressed; an unfinished file never gets the final name."""
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_name(out.name + ".part")
        part.write_bytes(gzip.compress(self.bytes(), level, mtime=0))
        part.rename(out)

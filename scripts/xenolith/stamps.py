"""Steps that are done once: a stamp holds the hash of what a step was made from."""

import hashlib
from pathlib import Path

from . import paths


def digest(*inputs) -> str:
    """A hash over strings, files and folders (a folder: every file in it, by name)."""
    h = hashlib.sha256()
    for item in inputs:
        if isinstance(item, Path):
            files = sorted(p for p in item.rglob("*") if p.is_file()) if item.is_dir() else [item]
            for f in files:
                h.update(f"{f.name}\0".encode() + f.read_bytes())
        else:
            h.update(repr(item).encode())
        h.update(b"\0")
    return h.hexdigest()


class Stamp:
    """`fresh()` says whether the step was done with these inputs and its outputs still exist."""

    def __init__(self, name: str, key: str, outputs: list[Path]):
        self.file = paths.CACHE / "stamps" / name
        self.key = key
        self.outputs = outputs

    def fresh(self) -> bool:
        try:
            return self.file.read_text() == self.key and all(o.exists() for o in self.outputs)
        except FileNotFoundError:
            return False

    def clear(self) -> None:
        """Before a step begins: if it is interrupted, it is done again."""
        self.file.unlink(missing_ok=True)

    def mark(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(self.key)

"""Debian's kernel: its image, and its modules with what they need, read off the modules."""

import re
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

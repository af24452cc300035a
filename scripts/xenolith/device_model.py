"""A disk with what Domain 0 needs for QEMU's devices and for guests that bring their own kernel.

QEMU (qcow2 disks, frame buffers) and Python (pygrub) are larger than all the rest of Domain 0, so
they are no part of its initramfs, which every boot unpacks: who needs them attaches this disk and
runs `enter` on it.
"""

import os
import shutil
from pathlib import Path

from . import apt, demo_disk, dom0_image, paths, ui
from .elf import Libraries
from .kernel import DEBIAN
from .stamps import Stamp, digest

PACKAGES = ["qemu-system-xen"]
PROGRAMS = ["usr/libexec/xen-qemu-system-i386", "usr/bin/python3.11"]
TREES = ["usr/lib/python3.11", "usr/share/qemu/keymaps", "usr/lib/xen-4.17/bin/pygrub",
         "usr/lib/xen-4.17/lib/python", "usr/lib/xen-4.17/lib/x86_64-linux-gnu"]
MODULES = ["overlay"]
LABEL, SIZE = "device-model", "160M"
IMAGE = paths.DOM0 / "device-model.img"

# Both trees in one: programs look for their files where the packages put them.
ENTER = f"""#!/bin/sh
here=$(dirname "$0")
for module in {" ".join(MODULES)}; do insmod "$here/$module.ko" || exit; done
exec mount -t overlay -o "lowerdir=$here/usr:/usr" overlay /usr
"""


def build() -> Path:
    """Leaves the disk in build/cache/dom0 and gives its path; takes a download the first time."""
    dom0_image.fetch()
    key = digest(PACKAGES, PROGRAMS, TREES, DEBIAN.version(), dom0_image.PACKAGES, Path(__file__), Path(demo_disk.__file__))
    stamp = Stamp("device-model", key, [IMAGE])
    if stamp.fresh():
        return IMAGE
    stamp.clear()
    ui.note("putting the disk with QEMU for Domain 0 together")
    work = paths.CACHE / "device-model"
    shutil.rmtree(work, ignore_errors=True)
    for deb in apt.download_closure(PACKAGES):
        apt.extract(deb, work / "packages", exclude=demo_disk.LEFT_OUT)
    _assemble([work / "packages", paths.SYSROOT], work / "disk")
    demo_disk.make_file_system(IMAGE, work / "disk", SIZE, LABEL)
    shutil.rmtree(work)
    stamp.mark()
    return IMAGE


def _assemble(sources: list[Path], disk: Path) -> None:
    libraries = [Libraries(s) for s in sources]
    for wanted in PROGRAMS + TREES:
        n = next(n for n, s in enumerate(sources) if (s / wanted).exists())
        _take(sources[n] / wanted, disk / wanted, libraries[n])
    (disk / "usr/bin/python3").symlink_to("python3.11")
    where = disk / "usr/lib/x86_64-linux-gnu"
    where.mkdir(parents=True, exist_ok=True)
    for name, path in sorted({k: v for l in libraries for k, v in l.found.items()}.items()):
        shutil.copy(os.path.realpath(path), where / name)
    for module in DEBIAN.with_dependencies(MODULES):
        shutil.copy(module, disk / module.name)
    (disk / "enter").write_text(ENTER)
    (disk / "enter").chmod(0o755)


def _take(source: Path, target: Path, libraries: Libraries) -> None:
    """A file or a tree, and what programs need that are in it."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        files = [f for f in source.rglob("*") if f.is_file() and not f.is_symlink()]
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        files = [source]
    for file in files:
        libraries.add(file)

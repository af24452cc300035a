"""Domain 0's initramfs: busybox, Debian's Xen tools with their libraries, and modules.

Everything comes from Debian packages that are downloaded and unpacked in the cache; the
scripts and settings that are ours lie in scripts/dom0, as they will lie in the running system.
"""

import os
import shutil
import subprocess
from pathlib import Path

from . import apt, paths, ui
from .cpio import Archive
from .elf import Libraries
from .errors import Failure
from .kernel import DEBIAN, Kernel
from .stamps import Stamp, digest

PACKAGES = """xen-utils-4.17 xenstore-utils xen-utils-common busybox-static bash-static coreutils bsdutils
    util-linux mount iproute2 bridge-utils e2fsprogs ncurses-base""".split()
HYPERVISOR_PACKAGE = "xen-hypervisor-4.17-amd64"

# Loaded in this order (their dependencies before them) by scripts/dom0/init.
MODULES = """xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs xen-blkback xen-netback
    loop bridge tun ahci sd_mod crc32c_generic ext4 e1000""".split()
# At hand for modprobe.
MORE_MODULES = """efivarfs nvme e1000e virtio_pci virtio_blk virtio_net evdev button xen-blkfront xen-netfront
    br_netfilter""".split()

# bash is the static one: a hot-plug script starts it dozens of times, and the dynamic one spends most
# of its start in the dynamic linker, which on an emulated CPU comes near libxl's limit of 40 s.
# Real ones where hot-plug scripts or tests need more than busybox has. Its logger and stat do, and
# start in a third of the time (the real logger brings libsystemd with it).
PROGRAMS = """bin/bash-static bin/dd usr/bin/sha256sum usr/bin/timeout
    usr/bin/flock usr/bin/script usr/bin/setsid sbin/losetup sbin/ip sbin/bridge sbin/brctl
    usr/bin/chattr sbin/mkfs.ext4 sbin/e2fsck sbin/dumpe2fs usr/bin/xenalyze""".split()
SAME_AS = {"sbin/fsck.ext4": "e2fsck", "sbin/mke2fs": "mkfs.ext4", "bin/bash": "bash-static"}
TREES = ["usr/lib/xen-4.17/bin", "usr/lib/xen-common", "etc/xen"]
TERMINALS = "ansi dumb linux screen vt100 vt102 vt220 xterm xterm-256color tmux tmux-256color".split()
# Tools for HVM guests and the debugger: too large for what they are good for here.
LEFT_OUT = {"pygrub", "xen-access", "gdbsx", "xen-kdd", "convert-legacy-stream"}

_FILES = paths.SCRIPTS / "dom0"
_unpacked = Stamp("sysroot", digest(PACKAGES, HYPERVISOR_PACKAGE, 1), [paths.SYSROOT, paths.STOCK_XEN])


def fetch() -> None:
    """Downloads and unpacks the packages, and stock Xen, unless that is done."""
    DEBIAN.fetch()
    if _unpacked.fresh():
        return
    _unpacked.clear()
    ui.note("fetching what Domain 0 is made of (Debian's Xen tools, busybox)")
    debs = apt.download_closure(PACKAGES)
    shutil.rmtree(paths.SYSROOT, ignore_errors=True)
    count = ui.Counter("unpacking packages for Domain 0", len(debs))
    for deb in debs:
        apt.extract(deb, paths.SYSROOT, exclude=["./usr/share/doc/*", "./usr/share/man/*", "./usr/share/locale/*"])
        count.step()
    _fetch_stock_xen()
    _unpacked.mark()


def _fetch_stock_xen() -> None:
    """The oracle, taken from its package: installing that would change this machine's GRUB."""
    import gzip

    where = paths.CACHE / "hypervisor"
    [deb] = apt.download([HYPERVISOR_PACKAGE])
    apt.extract(deb, where, only=["./boot/xen-4.17-amd64.gz"])
    paths.DOM0.mkdir(parents=True, exist_ok=True)
    paths.STOCK_XEN.write_bytes(gzip.decompress((where / "boot/xen-4.17-amd64.gz").read_bytes()))


def build() -> None:
    """Leaves vmlinuz and dom0.cpio.gz in build/cache/dom0."""
    fetch()
    key = digest(_unpacked.key, DEBIAN.version(), _FILES, Path(__file__), paths.SCRIPTS / "xenolith/kernel.py")
    stamp = Stamp("dom0", key, [paths.VMLINUZ, paths.DOM0_INITRD])
    if stamp.fresh():
        return
    stamp.clear()
    ui.note("putting Domain 0's initramfs together")
    shutil.copyfile(DEBIAN.image(), paths.VMLINUZ)
    _assemble().write(paths.DOM0_INITRD)
    ui.note(f"Domain 0's initramfs: {paths.DOM0_INITRD.stat().st_size / 1e6:.1f} MB")
    stamp.mark()


def _assemble() -> Archive:
    a = Archive()
    for d in ("usr/bin", "usr/sbin", "usr/lib/x86_64-linux-gnu", "usr/lib64", "etc", "root"):
        a.directory(f"/{d}")
    for d in ("bin", "sbin", "lib", "lib64"):
        a.link(f"/{d}", f"usr/{d}")
    for d in ("proc", "sys", "dev", "run", "tmp", "mnt", "guests", "var/lib/xenstored",
              "var/lib/xen", "var/log/xen/console"):
        a.directory(f"/{d}")
    a.link("/var/run", "/run")
    a.link("/var/lock", "/run/lock")
    a.node("/dev/console", 5, 1)
    libraries = Libraries(paths.SYSROOT)
    libraries.add_name("libgcc_s.so.1")  # loaded by libc when a thread of xl's is cancelled
    names = _add_programs(a, libraries)
    _add_busybox(a, names)
    for name, path in sorted(libraries.found.items()):
        a.file(f"/usr/lib/x86_64-linux-gnu/{name}", Path(os.path.realpath(path)))
    a.link("/usr/lib64/ld-linux-x86-64.so.2", "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    add_modules(a, DEBIAN)
    for t in TERMINALS:
        a.file(f"/usr/share/terminfo/{t[0]}/{t}", _terminfo(t))
    a.tree("/", _FILES)
    return a


def _terminfo(name: str) -> Path:
    for base in ("lib/terminfo", "usr/share/terminfo"):
        path = paths.SYSROOT / base / name[0] / name
        if path.exists():
            return path
    raise Failure(f"ncurses-base has no entry for the terminal {name}", "TERMINALS names one too many")


def _in_usr(path: str) -> str:
    """Debian's packages still ship /bin and /sbin; in the image these are links into /usr."""
    return path if path.startswith(("usr/", "etc/")) else f"usr/{path}"


def _add_programs(a: Archive, libraries: Libraries) -> set[str]:
    """Programs and trees of the tools; gives the names of commands that are there now."""
    names = set()
    for program in PROGRAMS:
        source = paths.SYSROOT / program
        if source.exists():
            a.file(f"/{_in_usr(program)}", Path(os.path.realpath(source)))
            libraries.add(Path(os.path.realpath(source)))
            names.add(source.name)
    for link, target in SAME_AS.items():
        a.link(f"/{_in_usr(link)}", target)
        names.add(Path(link).name)
    for source in sorted((paths.SYSROOT / "usr/bin").glob("xenstore*")):
        a.file(f"/usr/bin/{source.name}", source)
        libraries.add(source)
    for tree in TREES:
        _add_tree(a, tree, libraries)
    return names


def _add_tree(a: Archive, tree: str, libraries: Libraries) -> None:
    a.directory(f"/{_in_usr(tree)}")
    for source in sorted((paths.SYSROOT / tree).rglob("*")):
        inside = f"/{_in_usr(str(source.relative_to(paths.SYSROOT)))}"
        if source.name in LEFT_OUT:
            continue
        if source.is_symlink():
            a.link(inside, os.readlink(source))
        elif source.is_dir():
            a.directory(inside)
        elif not (paths.SCRIPTS / "dom0" / inside.lstrip("/")).exists():  # ours goes before theirs
            a.file(inside, source)
            libraries.add(source)


def _add_busybox(a: Archive, real: set[str]) -> None:
    """busybox with a link for each applet that no real program stands for."""
    busybox = paths.SYSROOT / "bin/busybox"
    a.file("/usr/bin/busybox", busybox)
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in sorted(set(applets.stdout.split()) - real - {"busybox", "init"}):
        a.link(f"/usr/bin/{applet}", "busybox")


def add_modules(a: Archive, kernel: Kernel, without: list[str] = ()) -> None:
    """MODULES and MORE_MODULES of a kernel, but those that it is known to be `without`, and /init's list of them."""
    where = f"/usr/lib/modules/{kernel.version()}"
    loaded = kernel.with_dependencies([m for m in MODULES if m not in without])
    everything = kernel.with_dependencies([m for m in MODULES + MORE_MODULES if m not in without])
    for m in everything:
        a.file(f"{where}/{m.name}", m)
    a.data(f"{where}/modules.dep", kernel.modules_dep(everything).encode())
    a.data("/etc/xenolith/modules", "".join(f"{where}/{m.name}\n" for m in loaded).encode())

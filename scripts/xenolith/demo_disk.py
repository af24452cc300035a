"""The disk of the guest `demo`: Debian's userland from packages, on an ext4 file system.

Packages are unpacked and recorded as installed; their maintainer scripts are not run, because
that needs root, a chroot and minutes. The few things these would have done and that the guest
needs are done here (_configure) or come from scripts/demo.

Run as a module of its own, under fakeroot where the user is not root, so that files belong to
root in the image: `python3 -m xenolith.demo_disk IMAGE DEB...`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import apt, paths, ui
from .cpio import Archive
from .elf import Libraries
from .errors import Failure
from .kernel import DEBIAN, Kernel
from .stamps import Stamp, digest

# usr-is-merged stands for usrmerge, which would bring perl; the links are made below.
PACKAGES = """?essential usr-is-merged apt sysvinit-core iproute2 iputils-ping netcat-openbsd
    xenstore-utils procps udhcpc e2fsprogs login passwd mount kmod less wget""".split()
MODULES = "xen-blkfront xen-netfront crc32c_generic ext4".split()
SIZE = "512M"
DATA_SIZE = "2G"
LEFT_OUT = ["./usr/share/doc/*", "./usr/share/man/*", "./usr/share/locale/*", "./usr/share/info/*",
            "./usr/share/lintian/*", "./usr/lib/udev/hwdb.d/*", "./usr/share/bash-completion/*"]
_FILES = paths.SCRIPTS / "demo"


def build() -> None:
    """Leaves the disk with the guests' images in build/cache/dom0/data.img."""
    key = digest(PACKAGES, MODULES, SIZE, DATA_SIZE, LEFT_OUT, DEBIAN.version(), _FILES,
                 Path(__file__), paths.SCRIPTS / "xenolith/kernel.py")
    stamp = Stamp("demo", key, [paths.DATA_DISK])
    if stamp.fresh():
        return
    stamp.clear()
    ui.note("putting the guest demo's disk together (Debian's userland)")
    work = paths.CACHE / "demo"
    guests = work / "guests"
    shutil.rmtree(work, ignore_errors=True)
    (guests / "demo").mkdir(parents=True)
    debs = apt.download_closure(PACKAGES)
    _as_root([sys.executable, "-B", "-m", "xenolith.demo_disk", str(guests / "demo/disk.img"), *map(str, debs)])
    shutil.copyfile(DEBIAN.image(), guests / "demo/vmlinuz")
    (guests / "demo/vmlinux").write_bytes(DEBIAN.unpacked())
    guest_initrd(DEBIAN).write(guests / "demo/initrd.img")
    make_file_system(paths.DATA_DISK, guests, DATA_SIZE, "xenolith")
    shutil.rmtree(work, ignore_errors=True)
    stamp.mark()


def _as_root(argv: list[str]) -> None:
    prefix = [] if os.geteuid() == 0 else ["fakeroot", "--"]
    p = subprocess.run(prefix + argv, env={**os.environ, "PYTHONPATH": str(paths.SCRIPTS)})
    if p.returncode:
        raise Failure("the guest's disk could not be made", "the reason stands above")


def make_file_system(image: Path, tree: Path, size: str, label: str) -> None:
    """An ext4 image with the contents of a directory; sparse files stay sparse."""
    image.parent.mkdir(parents=True, exist_ok=True)
    part = image.with_name(image.name + ".part")
    part.unlink(missing_ok=True)
    p = subprocess.run(
        ["/sbin/mkfs.ext4", "-q", "-F", "-L", label, "-d", str(tree), "-E", "root_owner=0:0,lazy_itable_init=0",
         "-m", "0", str(part), size], capture_output=True, text=True)
    if p.returncode:
        raise Failure(f"mkfs.ext4 failed ({p.stderr.strip()[:200]})", "is there enough free space?")
    part.rename(image)


def guest_initrd(kernel: Kernel) -> Archive:
    """Mounts the guest's disk and goes over to it; without a disk it is the whole guest."""
    a = Archive()
    busybox = paths.SYSROOT / "bin/busybox"
    a.file("/bin/busybox", busybox)
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in sorted(set(applets.stdout.split()) - {"busybox", "init"}):
        a.link(f"/bin/{applet}", "busybox")
    for d in ("proc", "sys", "dev", "run", "tmp", "mnt", "root", "etc"):
        a.directory(f"/{d}")
    a.node("/dev/console", 5, 1)
    libraries = Libraries(paths.SYSROOT)
    xenstore = paths.SYSROOT / "usr/bin/xenstore"
    libraries.add(xenstore)
    a.file("/bin/xenstore", xenstore)
    for name, path in sorted(libraries.found.items()):
        a.file(f"/lib/x86_64-linux-gnu/{name}", Path(os.path.realpath(path)))
    a.link("/lib64/ld-linux-x86-64.so.2", "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    modules = kernel.with_dependencies(MODULES)
    for m in modules:
        a.file(f"/lib/modules/{m.name}", m)
    a.data("/etc/modules", "".join(f"/lib/modules/{m.name}\n" for m in modules).encode())
    a.tree("/", _FILES / "initrd")
    return a


def _make_image(image: Path, debs: list[Path]) -> None:
    root = image.with_name("root")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for d in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / d).mkdir(parents=True)
        (root / d).symlink_to(f"usr/{d}")
    count = ui.Counter("unpacking packages for the guest demo", len(debs))
    for deb in debs:
        apt.extract(deb, root, exclude=LEFT_OUT)
        _record(deb, root)
        count.step()
    _configure(root)
    make_file_system(image, root, SIZE, "demo")
    shutil.rmtree(root)


def _record(deb: Path, root: Path) -> None:
    """Enters a package into the guest's dpkg database, so that dpkg and apt know what is there."""
    info = root / "var/lib/dpkg/info"
    info.mkdir(parents=True, exist_ok=True)
    control = _dpkg_deb("--field", deb)
    fields = dict(l.split(": ", 1) for l in control.splitlines() if ": " in l and not l.startswith(" "))
    name = fields["Package"] + (":amd64" if fields.get("Multi-Arch") == "same" else "")
    names = [l.split(maxsplit=5)[5].split(" -> ")[0] for l in _dpkg_deb("--contents", deb).splitlines()]
    (info / f"{name}.list").write_text("".join("/" + n.strip("./") + "\n" for n in names))
    with open(root / "var/lib/dpkg/status", "a", encoding="utf8") as status:
        first, rest = control.split("\n", 1)
        status.write(f"{first}\nStatus: install ok installed\n{rest.rstrip()}\n\n")


def _dpkg_deb(what: str, deb: Path) -> str:
    return subprocess.run(["dpkg-deb", what, str(deb)], capture_output=True, text=True, check=True).stdout


def _configure(root: Path) -> None:
    """What maintainer scripts would have done and the guest needs."""
    for name, master in (("passwd", "passwd.master"), ("group", "group.master")):
        shutil.copyfile(root / "usr/share/base-passwd" / master, root / "etc" / name)
    for d in ("media", "mnt", "opt", "srv"):
        (root / d).mkdir(exist_ok=True)
    passwd = root / "etc/passwd"
    passwd.write_text(passwd.read_text().replace("root:*:", "root::", 1))
    for link, target in (("usr/bin/awk", "mawk"), ("usr/bin/nc", "nc.openbsd"), ("usr/bin/pager", "less"),
                         ("etc/mtab", "../proc/self/mounts"), ("etc/resolv.conf", "../run/resolv.conf")):
        path = root / link
        if not path.is_symlink() and not path.exists():
            path.symlink_to(target)
    profile = root / "usr/share/base-files"
    for name in ("profile", "motd"):
        if (profile / name).exists() and not (root / "etc" / name).exists():
            shutil.copyfile(profile / name, root / "etc" / name)
    shutil.copytree(_FILES / "root", root, dirs_exist_ok=True, symlinks=True)


if __name__ == "__main__":
    try:
        _make_image(Path(sys.argv[1]), [Path(d) for d in sys.argv[2:]])
    except Failure as failure:
        ui.error(failure.line())
        sys.exit(1)

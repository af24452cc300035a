"""A boot with Debian's kernel as Domain 0: what it is made of, and what is read off its console.

Domain 0 is Debian's kernel with the tests' initramfs, the guest the same kernel; debian/dom0 and
debian/guest are what they do, with nobody outside to wait for.
"""

import contextlib
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import urllib.parse

import machine
from table import Figure

sys.path.insert(0, str(machine.ROOT / "scripts"))

from xenolith import demo_disk, paths  # noqa: E402
from xenolith.cpio import Archive  # noqa: E402
from xenolith.kernel import DEBIAN  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
# RDTSCP is broken in this QEMU for PV guests (scripts/xenolith/qemu.py).
QEMU = [re.sub("^max,", "max,-rdtscp,", word) for word in machine.QEMU] + ["-m", "1280"]
BOOT_LINE = "console=com1 com1=115200,8n1 dom0_mem=768M spec-ctrl=eager-fpu"
# Where a program's memory begins decides whether a page table comes and goes with 16 pages: the same place on both.
KERNEL_LINE = "console=hvc0 loglevel=4 nokaslr norandmaps"
SECONDS = 3 * 3600  # for one boot; a machine may be very busy
# Those of Domain 0's packages whose work is counted.
TOOLS = ["xen-utils-4.17", "xen-utils-common", "xenstore-utils", "busybox-static", "bash-static", "libc6"]


def kernel_version(image):
    """The package's version, such as 6.1.192-3, that a bzImage names (Linux's boot protocol, kernel_version)."""
    at = 0x200 + struct.unpack_from("<H", image, 0x20E)[0]
    text = image[at:image.index(b"\0", at)].decode()
    match = re.search(r"Debian (\S+)", text)
    return match[1] if match else text


def deb_version(name):
    """Of the package that was downloaded last, as Domain 0 is put together from."""
    debs = sorted(paths.DEBS.glob(f"{name}_*.deb"), key=lambda deb: deb.stat().st_ctime)
    return urllib.parse.unquote(debs[-1].name.split("_")[1]) if debs else "none"


def versions():
    """{package: version} of what is counted besides the hypervisor; the last one's is linked into debian/*.cpp."""
    libc = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "libc6-dev"], capture_output=True, text=True)
    return {"linux-image": kernel_version(DEBIAN.image().read_bytes()), **{name: deb_version(name) for name in TOOLS},
            "libc6-dev": libc.stdout}


def build(folder):
    """The program of debian/, linked statically: one file for Domain 0 and the guest."""
    program = folder / "loops"
    subprocess.run(["g++", "-std=gnu++23", "-O2", "-Wall", "-Wextra", "-Werror", "-static",
                    *map(str, sorted((HERE / "debian").glob("*.cpp"))), "-o", str(program)], check=True)
    return program


def whole(loops, vmlinux):
    """The initramfs of a whole run: the tests', and behind it all that is done there."""
    guest = demo_disk.guest_initrd(DEBIAN)
    guest.file("/bench/loops", loops)
    guest.file("/bench/guest", HERE / "debian/guest")
    more = Archive()
    more.file("/bench/loops", loops)
    more.data("/bench/vmlinux", vmlinux)
    more.data("/bench/initrd.img", guest.bytes())
    more.file("/etc/xenolith/shell", HERE / "debian/dom0")
    base = paths.DOM0_INITRD.read_bytes()
    return base + bytes(-len(base) % 4) + more.bytes()


def small(loops):
    """One in which that program is the first process."""
    archive = Archive()
    archive.node("/dev/console", 5, 1)
    archive.file("/bench/loops", loops)
    return archive.bytes()


@contextlib.contextmanager
def images():
    """A folder with Debian's kernel as it is and unpacked (vmlinuz, vmlinux), and two initramfs (initrd, small)."""
    with tempfile.TemporaryDirectory(prefix="xenolith-bench-") as scratch:
        folder = pathlib.Path(scratch)
        loops, vmlinux = build(folder), DEBIAN.unpacked()
        (folder / "vmlinuz").write_bytes(DEBIAN.image().read_bytes())
        (folder / "vmlinux").write_bytes(vmlinux)
        (folder / "initrd").write_bytes(whole(loops, vmlinux))
        (folder / "small").write_bytes(small(loops))
        yield folder


def command(image, kernel, line, initrd, extra=""):
    return QEMU + ["-kernel", str(image), "-append", f"{BOOT_LINE} {extra}".strip(),
                   "-initrd", f"{kernel} {KERNEL_LINE} {line},{initrd}"]


def parse(lines):
    """What debian/*.cpp printed: {row: Figure}, and {stamp: (first, second)}."""
    figures, stamps = {}, {}
    for line in lines:
        if match := re.match(r"BENCH (\w+) ([\d.]+) ([\d.]+) (\d+)", line):
            figures[match[1]] = Figure(round(float(match[2])), round(float(match[3])), int(match[4]))
        elif match := re.match(r"STAMP (\w+) (\d+) (\d+)", line):
            stamps[match[1]] = (int(match[2]), int(match[3]))
    return figures, stamps

"""The small guest of obedient.cpp in Domain 0: building it, starting it."""

import subprocess
from pathlib import Path

from framework import ROOT, more_initrd

MEMORY = 8  # MiB
FIRST_PAGE = 0x100  # where its program lies in its memory
FILE = "/usr/share/obedient"
_BUILD = """-std=gnu++20 -O1 -Wall -ffreestanding -fno-stack-protector -fno-pic -no-pie -mcmodel=kernel -mgeneral-regs-only
    -mno-red-zone -fcf-protection=none -fno-asynchronous-unwind-tables -nostdlib -static
    -Wl,-Ttext=0xffffffff80100000,--build-id=none,--no-warn-rwx-segments,-n""".split()


def into_dom0(folder: Path, programs: tuple[str, ...] = ()) -> Path:
    """Domain 0's initramfs with the guest's program in it (also left in the folder), and with these of
    Debian's programs in /usr/sbin that it is without."""
    from xenolith import paths
    from xenolith.cpio import Archive
    from xenolith.elf import Libraries

    subprocess.run(["g++", *_BUILD, str(ROOT / "tests/system/obedient.cpp"), "-o", str(folder / "obedient")], check=True)
    extra = Archive()
    extra.file(FILE, folder / "obedient")
    libraries = Libraries(paths.SYSROOT)
    for name in programs:
        extra.file(f"/usr/sbin/{name}", paths.SYSROOT / "usr/sbin" / name)
        libraries.add(paths.SYSROOT / "usr/sbin" / name)
    for name, path in libraries.found.items():
        extra.file(f"/usr/lib/x86_64-linux-gnu/{name}", path)
    return more_initrd(folder, extra)


def create(host, name: str, settings: str = "") -> str:
    """Starts one with these lines of xl.cfg as well; gives its id."""
    host.write(f"/run/{name}.cfg", f'name = "{name}"\ntype = "pv"\nkernel = "{FILE}"\nmemory = {MEMORY}\n{settings}')
    host.run(f"xl create -q /run/{name}.cfg")
    return domid(host, name)


def domid(host, name: str) -> str:
    """"" if there is none of that name."""
    status, text = host.status(f"xl domid {name}")
    return "" if status else text.strip()

"""The small guest of obedient.cpp in Domain 0: building it, starting it, telling it how to end."""

import subprocess
from pathlib import Path

from framework import ROOT, more_initrd

MEMORY = 8  # MiB
# How it may end: SHUTDOWN_* of sched.h.
POWEROFF, REBOOT, CRASH = 0, 1, 3
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


def tell(host, number: str, how) -> None:
    """How it is to end, as obedient.cpp says. xenconsoled opens its console a moment after its start."""
    tty = f"/local/domain/{number}/console/tty"
    host.run(f"for i in $(seq 50); do xenstore-exists {tty} && break; sleep 0.2; done; printf {how} > $(xenstore-read {tty})")


def destroy_all(host) -> None:
    """All guests; the daemons that wait for them end with them."""
    host.run("for id in $(xl list | awk 'NR > 1 && $2 > 0 { print $2 }'); do xl destroy $id; done")

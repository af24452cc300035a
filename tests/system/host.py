"""An installed Debian becomes a host: the package, a boot by GRUB's menu, systemd, and the way back.

On stock Xen it is Debian's own packages that are installed. Each firmware is a suite; the checks are steps of one
story, and each brings about what it needs, so that after a failure the next goes on (on a new disk, if it must).
Here is what the steps share; they are in host_package.py, host_guests.py and host_back.py, in this order.
"""

import functools
import shutil
from pathlib import Path

import debian_disk
from framework import ROOT, Suite, expect
from xenolith import apt, demo_disk, package
from xenolith.errors import Failure
from xenolith.qemu import OVMF_VARIABLES, STOCK_BOOT_LINE
from xenolith.session import Timeout

BOOT_SECONDS = 1500  # systemd in an emulator, beside another machine
STOCK = ["xen-hypervisor-4.17-amd64", "xen-hypervisor-common"]
FILES = ROOT / "scripts/dom0/usr/bin"


def _bios(folder: Path, hypervisor) -> dict:
    debian_disk.build()
    tree, lvm = folder / "tree", folder / "lvm.img"
    tree.mkdir()
    for deb in apt.download(STOCK) if not hypervisor.is_xenolith else [package.make(hypervisor.image, folder)]:
        shutil.copyfile(deb, tree / deb.name)
    for program in ("guest", "wait-guest"):
        shutil.copy(FILES / program, tree / program)
    demo_disk.make_file_system(folder / "payload.img", tree, "64M", "payload")
    with open(lvm, "wb") as f:
        f.truncate(3 << 30)
    return {"system": debian_disk.overlay(folder), "disks": [folder / "payload.img", lvm]}


def _uefi(folder: Path, hypervisor) -> dict:
    shutil.copyfile(OVMF_VARIABLES, folder / "variables.fd")
    return {**_bios(folder, hypervisor), "uefi_variables": folder / "variables.fd"}


OPTIONS = {"memory": 3072, "reboots": True, "boot_seconds": BOOT_SECONDS, "extra": ["-device", "VGA"]}
bios = Suite("host-bios", prepare=_bios, **OPTIONS)
uefi = Suite("host-uefi", prepare=_uefi, **OPTIONS)


def check(function):
    """A step of both suites."""
    bios.check(function)
    return uefi.check(function)


def name(host) -> str:
    return "xenolith-hypervisor" if host.hypervisor.is_xenolith else " ".join(STOCK)


def reboot(host) -> None:
    host.status("(sleep 1; systemctl reboot) > /dev/null 2>&1 &")
    try:
        host.session.boot(seconds=BOOT_SECONDS)
    except Failure as e:
        raise Timeout(e.line()) from None


def reboot_without(host) -> None:
    """To the ordinary kernel, which is the default again after Xenolith's trial; Debian's Xen makes itself the default."""
    if not host.hypervisor.is_xenolith:
        host.status("grub-reboot 0")
    reboot(host)
    expect(not under_a_hypervisor(host), "the hypervisor was booted again")


def under_a_hypervisor(host) -> bool:
    return host.status("[ $(cat /sys/hypervisor/type) = xen ]")[0] == 0


def sound(host) -> None:
    """systemd is content: everything started, nothing failed."""
    host.status("systemctl is-system-running --wait", 600)
    failed = host.run("systemctl --failed --no-legend --plain").strip()
    expect(not failed, f"failed units: {failed}\n{host.status('journalctl -b -p warning --no-pager | tail -n 40')[1]}")
    expect(host.status("systemctl is-system-running")[1].strip() == "running", "the system is not `running`")


def payload(host) -> None:
    host.run("mountpoint -q /mnt || mount LABEL=payload /mnt; mkdir -p /guests; mountpoint -q /guests || mount LABEL=xenolith /guests; "
             "cp /mnt/guest /mnt/wait-guest /usr/local/bin/; chmod +x /usr/local/bin/*")


def need_package(host) -> None:
    if set(host.status(f"dpkg-query -W -f '${{db:Status-Status}}\\n' {name(host)}")[1].split()) == {"installed"}:
        return
    payload(host)
    host.run("update-grub; cp /boot/grub/grub.cfg /root/grub.cfg.before; ls -R /boot /etc/default > /root/files.before; "
             "DEBIAN_FRONTEND=noninteractive apt-get install -y /mnt/*.deb", 600)


def need_hypervisor(host) -> None:
    if under_a_hypervisor(host):
        return
    need_package(host)
    if host.hypervisor.is_xenolith:
        host.run("xenolith-try", 300)
    else:  # what it needs under TCG
        host.run(f"echo 'GRUB_CMDLINE_XEN=\"$GRUB_CMDLINE_XEN {STOCK_BOOT_LINE}\"' > /etc/default/grub.d/zz-stock.cfg; update-grub", 300)
    reboot(host)
    expect(under_a_hypervisor(host), "GRUB has not booted the hypervisor")
    payload(host)


def xenolith_only(function):
    """A step about the package's own care; Debian's makes no such promise."""

    @functools.wraps(function)
    def step(host):
        if host.hypervisor.is_xenolith:
            function(host)

    return step

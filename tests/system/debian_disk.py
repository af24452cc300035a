"""An installed Debian 12 on a disk image, as a person has it: systemd, GRUB, ssh, Xen's tools, libvirt.

mmdebstrap unpacks and configures the packages; the disk is put together without mounting anything, so that
neither root nor loop devices are needed. GRUB is installed by Debian's own grub-install, in the first boot
(_install_grub), for BIOS and for UEFI on the same disk:

    GPT | 1: BIOS boot, GRUB's core | 2: EFI system partition | 3: ext4, everything else

It is made once; the tests work on overlays (overlay()) that leave it as it is.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from framework import ROOT
from xenolith import apt, packages, paths, ui
from xenolith.errors import Failure
from xenolith.qemu import Machine
from xenolith.session import Session
from xenolith.stamps import Stamp, digest

# docs/dependencies.md says what each is for.
NEEDED = "mmdebstrap fdisk dosfstools e2fsprogs qemu-utils".split()
INSTALLED = """zstd systemd-sysv udev dbus libpam-systemd kmod procps less iproute2 iputils-ping ifupdown isc-dhcp-client
    e2fsprogs dosfstools linux-image-amd64 grub-pc grub-efi-amd64-bin openssh-server xen-utils-4.17 qemu-system-xen
    qemu-utils bridge-utils lvm2 libvirt-daemon-system libvirt-daemon-driver-xen libvirt-clients virtinst""".split()
FILES = ROOT / "tests/system/debian"
DISK = paths.CACHE / "host/debian.qcow2"
KERNEL, INITRD = (paths.CACHE / "host" / n for n in ("vmlinuz", "initrd.img"))
MIB = 1 << 20
# In MiB: where the partitions begin, and how long they are.
BIOS_BOOT, ESP, SYSTEM = (1, 1), (2, 62), (64, 4096)
LEFT_OUT = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"]


_building = threading.Lock()


def build() -> None:
    """Leaves the disk in the cache, unless it is there."""
    with _building:  # the machines of several suites are prepared at the same time
        _build()


def _build() -> None:
    key = digest(INSTALLED, FILES, Path(__file__))
    stamp = Stamp("host-disk", key, [DISK, KERNEL, INITRD])
    if stamp.fresh():
        return
    stamp.clear()
    packages.need(NEEDED)
    DISK.parent.mkdir(parents=True, exist_ok=True)
    ui.note("installing a Debian on a disk image (some minutes)")
    with tempfile.TemporaryDirectory(prefix="host-", dir=DISK.parent) as folder:
        work = Path(folder)
        _bootstrap(work / "root.tar")
        _fake_root(["-m", "debian_disk", str(work / "root.tar"), str(work)])
        _assemble(work)
        ui.note("installing GRUB on it, in its first boot")
        _install_grub(work / "disk.raw")
        _run(["qemu-img", "convert", "-O", "qcow2", str(work / "disk.raw"), str(DISK)])
    stamp.mark()


def overlay(folder: Path) -> Path:
    """A disk of its own for one machine, which begins as the installed one."""
    out = folder / "host.qcow2"
    _run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(DISK), str(out)])
    return out


def _bootstrap(tar: Path) -> None:
    """The packages, installed with all their maintainer scripts, from this machine's Debian sources."""
    argv = ["mmdebstrap", "--variant=apt", "--quiet", f"--include={','.join(INSTALLED)}",
            "--aptopt=Apt::Install-Recommends false", "--aptopt=Acquire::Retries 3",
            *[f"--dpkgopt=path-exclude={p}" for p in LEFT_OUT],
            f"--customize-hook=tar -C {FILES} --owner=root --group=root -c . | tar -C \"$1\" --no-same-permissions -x",
            "--customize-hook=chroot \"$1\" passwd -d root",
            # An installed system has one; without it systemd would write it in each first boot of an overlay.
            "--skip=cleanup/reproducible/machine-id", "--customize-hook=rm -f \"$1/etc/machine-id\"",
            "--customize-hook=chroot \"$1\" systemd-machine-id-setup",
            "--customize-hook=chroot \"$1\" systemctl enable host-control.service",
            "bookworm", str(tar), "-"]
    log = tar.with_name("mmdebstrap.log")
    with open(log, "w") as out:
        p = subprocess.run(argv, input="\n".join(apt.debian_sources()), stdout=out, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        raise Failure(f"mmdebstrap failed ({' '.join(log.read_text().split()[-40:])})", "check the network, and that user namespaces "
                      "are allowed here, or run it as root")


def _fake_root(argv: list[str]) -> None:
    prefix = [] if os.geteuid() == 0 else ["fakeroot", "--"]
    here = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": f"{here}:{paths.SCRIPTS}"}
    if subprocess.run([*prefix, sys.executable, "-B", *argv], env=env).returncode:
        raise Failure("the host's file system could not be made", "the reason stands above")


def _file_system(tar: Path, work: Path) -> None:
    """Partition 3 from the archive; the kernel and its initramfs beside it, for the first boot."""
    tree = work / "tree"
    tree.mkdir()
    _run(["tar", "-C", str(tree), "--numeric-owner", "-xpf", str(tar)])
    tar.unlink()
    (tree / "boot/efi").mkdir()
    shutil.copyfile(max((tree / "boot").glob("vmlinuz-*")), KERNEL)
    shutil.copyfile(max((tree / "boot").glob("initrd.img-*")), INITRD)
    _run(["/sbin/mkfs.ext4", "-q", "-F", "-L", "host", "-d", str(tree), "-E", "lazy_itable_init=0", "-m", "0",
          str(work / "system.img"), f"{SYSTEM[1]}M"])
    shutil.rmtree(tree)


def _assemble(work: Path) -> None:
    """The partition table, with the file systems in their places."""
    disk, esp = work / "disk.raw", work / "esp.img"
    with open(esp, "wb") as f:
        f.truncate(ESP[1] * MIB)
    _run(["/sbin/mkfs.vfat", "-F", "32", "-n", "ESP", str(esp)])
    with open(disk, "wb") as f:
        f.truncate((SYSTEM[0] + SYSTEM[1] + 1) * MIB)
    kinds = {BIOS_BOOT: "21686148-6449-6E6F-744E-656564454649", ESP: "U", SYSTEM: "L"}
    table = "label: gpt\n" + "".join(f"start={s}MiB, size={n}MiB, type={kind}\n" for (s, n), kind in kinds.items())
    _run(["/sbin/sfdisk", "--quiet", str(disk)], table)
    for image, (start, _) in ((esp, ESP), (work / "system.img", SYSTEM)):
        _run(["dd", f"if={image}", f"of={disk}", "bs=1M", f"seek={start}", "conv=notrunc,sparse"])
        image.unlink()


def _install_grub(disk: Path) -> None:
    """In the installed system itself, which this once is started by QEMU and not by a boot loader."""
    machine = Machine(KERNEL, memory=1536, data_disk=None, kernel=None, one_thread=True,
                      whole_line="root=LABEL=host ro console=ttyS0 quiet",
                      extra=["-initrd", str(INITRD), "-drive", f"id=system,file={disk},format=raw,if=none",
                             "-device", "ide-hd,drive=system,bus=ide.0"])
    log = ROOT / "build/test-logs/host-first-boot.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with Session(machine, log) as session:
        session.boot(seconds=900)
        status, text = session.run(
            "set -ex; grub-install --target=i386-pc /dev/sda; grub-install --target=x86_64-efi --removable --no-nvram; "
            "update-grub; sync", 600)
        if status:
            raise Failure(f"GRUB could not be installed ({text.strip()[-600:]})")
        session.run("(sleep 1; systemctl poweroff) >/dev/null 2>&1 &", 30)
        if not session.wait_end(300):
            raise Failure("the new system does not switch itself off" + session.tail())


def _run(argv: list[str], text: str | None = None) -> None:
    p = subprocess.run(argv, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        raise Failure(f"{argv[0]} failed ({p.stdout.strip()[-400:]})", "is there enough free space in build/cache?")


if __name__ == "__main__":
    try:
        _file_system(Path(sys.argv[1]), Path(sys.argv[2]))
    except Failure as failure:
        ui.error(failure.line())
        sys.exit(1)

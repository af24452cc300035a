"""Bootable images: GRUB for BIOS and for UEFI on one ISO that a CD or a USB stick carries."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import paths
from .errors import Failure

PACKAGES = "grub-common grub-pc-bin grub-efi-amd64-bin xorriso mtools".split()


@dataclass
class Entry:
    """A line of GRUB's menu. The lines are what follows the files' names."""

    title: str
    hypervisor_line: str
    kernel_line: str


def make(out: Path, hypervisor: Path, entries: list[Entry], initrd: Path = paths.DOM0_INITRD,
         more: dict[str, Path] | None = None, seconds: int = 5) -> None:
    """Writes an ISO whose first entry starts after `seconds`; `more`: files by their names on it."""
    with tempfile.TemporaryDirectory(prefix="xenolith-iso-", dir=paths.BUILD) as folder:
        tree = Path(folder)
        (tree / "boot/grub").mkdir(parents=True)
        # Without its debugging symbols, which are nine tenths of the file.
        _run(["strip", "-o", str(tree / "boot/xenolith"), str(hypervisor)])
        for name, source in {"boot/vmlinuz": paths.VMLINUZ, "boot/dom0.cpio.gz": initrd, **(more or {})}.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, tree / name)
        (tree / "boot/grub/grub.cfg").write_text(_menu(entries, seconds))
        _run(["grub-mkrescue", "-o", str(out), str(tree), "--", "-volid", "XENOLITH"])


def _menu(entries: list[Entry], seconds: int) -> str:
    lines = [f"set timeout={seconds}", "insmod all_video",
             # A serial port, where there is one, shows the menu as well as the screen.
             "if serial --unit=0 --speed=115200; then",
             "    terminal_input --append serial", "    terminal_output --append serial", "fi"]
    for e in entries:
        lines += [f'menuentry "{e.title}" {{', f"    multiboot2 /boot/xenolith {e.hypervisor_line}",
                  f"    module2 /boot/vmlinuz {e.kernel_line}", "    module2 /boot/dom0.cpio.gz", "}"]
    return "\n".join(lines) + "\n"


def _run(argv: list[str]) -> None:
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        raise Failure(f"{argv[0]} failed ({' '.join(p.stdout.split()[-30:])})", "is there enough free space in build/?")

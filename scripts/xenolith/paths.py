"""Where things lie in the repository and in its build directory."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
BUILD = ROOT / "build"
CACHE = BUILD / "cache"

DEBS = CACHE / "debs"  # downloaded packages
SYSROOT = CACHE / "sysroot"  # unpacked packages that Domain 0's programs are taken from
KERNEL = CACHE / "kernel"  # Debian's kernel, unpacked
DOM0 = CACHE / "dom0"  # what a machine boots with
VMLINUZ = DOM0 / "vmlinuz"
DOM0_INITRD = DOM0 / "dom0.cpio.gz"
DATA_DISK = DOM0 / "data.img"
STOCK_XEN = DOM0 / "xen"


def image(debug: bool = False) -> Path:
    """The hypervisor that the build leaves."""
    return BUILD / ("debug" if debug else "release") / "xenolith"


def efi_program(image: Path) -> Path:
    """What UEFI starts, beside the image that it carries."""
    return image.with_suffix(".efi")

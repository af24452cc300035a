"""What a machine's kernel and firmware tell about it, read below a root directory: "/" or a test's."""

import os
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

# What a bzImage's payload begins with, and the packer's name.
_PACKED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4",
           b"\x04\x22\x4d\x18": "lz4 in its newer format", b"BZh": "bzip2", b"\x89LZO": "lzo", b"\x5d\0\0": "lzma", b"\x7fELF": "none"}


@dataclass
class Kernel:
    """A /boot/vmlinuz-*."""

    version: str
    packed: str  # "?" if it cannot be told
    dom0: bool | None  # CONFIG_XEN_PV_DOM0; None: there is no /boot/config-* for it


@dataclass
class Device:
    """A disk or a NIC. `driver` is that of the PCI device it hangs on, "" if it hangs on none."""

    name: str
    driver: str
    about: str = ""
    bypasses_dma: bool = False  # virtio that takes the guest's physical addresses for the machine's
    wireless: bool = False


@dataclass
class Facts:
    flags: set[str] = field(default_factory=set)  # of the first CPU, as /proc/cpuinfo names them
    model: str = "unknown CPU"
    cpus: int = 0
    under: str = ""  # the hypervisor that runs now, as /sys/hypervisor/type says
    uefi: bool = False
    uefi_bits: int = 64
    secure_boot: bool = False
    memory: int = 0  # MiB
    nodes: int = 1
    tables: set[str] = field(default_factory=set)  # ACPI's
    meltdown: bool = False
    disks: list[Device] = field(default_factory=list)
    nics: list[Device] = field(default_factory=list)
    kernels: list[Kernel] = field(default_factory=list)
    boot_free: int | None = None  # KiB; None: there is no /boot
    grub: bool = False
    release: str = ""  # "debian 12"
    tools: bool = False  # Xen 4.17's
    saves: bool = False  # xendomains is to save guests when the host goes down, as Debian sets it up


def read(root: Path = Path("/")) -> Facts:
    f = Facts()
    _cpu(root, f)
    _firmware(root, f)
    f.memory = int((re.search(r"MemTotal:\s+(\d+)", _text(root / "proc/meminfo")) or [0, 0])[1]) // 1024
    f.nodes = max(1, len(list(root.glob("sys/devices/system/node/node[0-9]*"))))
    f.disks = [d for p in sorted(root.glob("sys/block/*")) if (d := _disk(root, p))]
    f.nics = [d for p in sorted(root.glob("sys/class/net/*")) if (d := _nic(p))]
    _system(root, f)
    return f


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _cpu(root: Path, f: Facts) -> None:
    text = _text(root / "proc/cpuinfo")
    f.flags = set((re.search(r"^flags\s*: (.*)$", text, re.M) or ["", ""])[1].split())
    f.model = (re.search(r"^model name\s*: (.*)$", text, re.M) or ["", f.model])[1]
    f.cpus = len(re.findall(r"^processor\s*:", text, re.M))
    f.under = _text(root / "sys/hypervisor/type")
    f.meltdown = "Not affected" not in (_text(root / "sys/devices/system/cpu/vulnerabilities/meltdown") or "Not affected")


def _firmware(root: Path, f: Facts) -> None:
    efi = root / "sys/firmware/efi"
    f.uefi = efi.is_dir()
    f.uefi_bits = int(_text(efi / "fw_platform_size") or 64)
    try:  # four bytes of attributes, then the variable's one
        data = (efi / "efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c").read_bytes()
        f.secure_boot = data[4:5] == b"\1"
    except OSError:
        pass
    f.tables = {p.name for p in root.glob("sys/firmware/acpi/tables/*") if p.is_file()}


def _driver(path: Path) -> str:
    """The driver of the nearest PCI device above a device's folder."""
    folder = Path(os.path.realpath(path))
    for place in (folder, *folder.parents):
        if re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", place.name):
            link = place / "driver"
            return Path(os.path.realpath(link)).name if link.exists() else "no driver"
    return ""


def _bypasses(path: Path) -> bool:
    """A virtio device without VIRTIO_F_ACCESS_PLATFORM (bit 33 of its features, printed from bit 0 on)."""
    for place in (Path(os.path.realpath(path)), *Path(os.path.realpath(path)).parents):
        if re.fullmatch(r"virtio\d+", place.name):
            return _text(place / "features")[33:34] != "1"
    return False


def _disk(root: Path, path: Path) -> Device | None:
    if not (path / "device").exists():  # loop devices, device mapper, RAM disks
        return None
    size = int(_text(path / "size") or 0) // 2**21
    return Device(path.name, _driver(path / "device"), f"{size} GiB", _bypasses(path / "device"))


def _nic(path: Path) -> Device | None:
    if not (path / "device").exists():  # bridges, lo, tun
        return None
    return Device(path.name, _driver(path / "device"), "", _bypasses(path / "device"), (path / "wireless").exists() or (path / "phy80211").exists())


def _system(root: Path, f: Facts) -> None:
    boot = root / "boot"
    for image in sorted(boot.glob("vmlinuz-*")):
        version = image.name.removeprefix("vmlinuz-")
        config = boot / f"config-{version}"
        f.kernels.append(Kernel(version, _packing(image), "CONFIG_XEN_PV_DOM0=y" in _text(config).splitlines() if config.exists() else None))
    if boot.is_dir():
        room = os.statvfs(boot)
        f.boot_free = room.f_bavail * room.f_frsize // 1024
    f.grub = (boot / "grub/grub.cfg").exists()
    release = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', _text(root / "etc/os-release"), re.M))
    f.release = f"{release.get('ID', 'unknown')} {release.get('VERSION_ID', '')}".strip()
    setting = re.search(r"^XENDOMAINS_SAVE=[\"']?([^\"'\n]*)", _text(root / "etc/default/xendomains"), re.M)
    f.saves = bool(setting and setting[1])
    f.tools = (root / "usr/lib/xen-4.17/bin/xl").exists()


def _packing(image: Path) -> str:
    """How a bzImage's payload is packed (Linux's boot protocol: where the payload lies)."""
    try:
        with open(image, "rb") as f:
            head = f.read(0x250)
            if head[:4] == b"\x7fELF":
                return "none"
            if len(head) < 0x250 or head[0x202:0x206] != b"HdrS":
                return "?"
            f.seek(((head[0x1F1] or 4) + 1) * 512 + struct.unpack_from("<I", head, 0x248)[0])
            start = f.read(8)
    except OSError:
        return "?"
    return next((name for magic, name in _PACKED.items() if start.startswith(magic)), "?")

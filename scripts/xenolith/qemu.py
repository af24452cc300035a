"""The machine: QEMU's command line, and whether KVM can carry it."""

import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from . import paths, ui

BINARY = "qemu-system-x86_64"
# Reliable under TCG with this QEMU: SMAP and RDTSCP are broken there for PV guests.
TCG_CPU = "max,-smap,-rdtscp"
# TCG's XSAVE does not raise #NM, so lazy FPU switching corrupts registers: stock Xen must be eager.
STOCK_BOOT_LINE = "spec-ctrl=eager-fpu"
MEMORY_LEAST, MEMORY_DEFAULT = 768, 2048
# UEFI's code, and what its variables are at first; Debian's package ovmf.
OVMF_CODE, OVMF_VARIABLES = Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
# The same with Secure Boot on, and its makers' usual keys.
OVMF_SECURE_CODE, OVMF_SECURE_VARIABLES = Path("/usr/share/OVMF/OVMF_CODE_4M.ms.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")


@dataclass
class Machine:
    """What to boot. `cmdline` is added to the hypervisor's boot line, `kernel_args` to Domain 0's."""

    hypervisor: Path
    stock: bool = False
    memory: int = MEMORY_DEFAULT  # MiB
    cpus: int = 2
    dom0_memory: int | None = None  # MiB; None: half of the machine, at least 512
    cmdline: str = ""
    kernel: Path | None = paths.VMLINUZ  # Domain 0's; None: no module at all
    kernel_args: str = ""
    initrd: Path | None = paths.DOM0_INITRD
    data_disk: Path | None = paths.DATA_DISK  # changes to it are thrown away
    disks: list[Path] = field(default_factory=list)  # changes to these stay
    network: bool = True
    reboots: bool = False  # a reboot starts the machine again instead of ending it
    one_thread: bool = False  # TCG runs all CPUs in turn in one thread of the host
    medium: Path | None = None  # boots from this ISO, or disk (.img), instead of being handed hypervisor and kernel
    system: Path | None = None  # boots from this disk (qcow2; changes to it stay) instead
    whole_line: str | None = None  # instead of boot_line(): the image is no hypervisor, but a kernel by itself
    uefi_variables: Path | None = None  # UEFI's variables, which change; None: the machine has a BIOS
    secure_boot: bool = False  # with UEFI's variables from OVMF_SECURE_VARIABLES
    monitor: Path | None = None  # where QEMU's monitor listens, a Unix socket
    extra: list[str] = field(default_factory=list)

    def boot_line(self) -> str:
        dom0 = self.dom0_memory or min(max(512, self.memory // 2), 4096)
        line = f"console=com1 com1=115200,8n1 dom0_mem={dom0}M loglvl=info guest_loglvl=warning"
        return " ".join(filter(None, [line, STOCK_BOOT_LINE if self.stock else "", self.cmdline]))

    def kernel_line(self) -> str:
        return " ".join(filter(None, ["console=hvc0 loglevel=4", self.kernel_args]))

    def command(self) -> list[str]:
        """Without the serial ports: their number and kind is the caller's business."""
        argv = [BINARY, "-nodefaults", "-display", "none", "-machine", "q35,smm=on" if self.secure_boot else "q35", *_accelerator(self.one_thread),
                "-m", str(self.memory), "-smp", str(self.cpus), *([] if self.reboots else ["-no-reboot"]),
                *(self._from_medium() if self.medium else self._from_system() if self.system else self._handed_over()),
                *(self._firmware() if self.uefi_variables else [])]
        if self.data_disk:
            argv += _disk("data", self.data_disk, "on", 0)
        for n, disk in enumerate(self.disks, 1):
            argv += _disk(f"disk{n}", disk, "off", n)
        if self.network:
            argv += ["-netdev", "user,id=net", "-device", "e1000,netdev=net"]
        if self.monitor:
            argv += ["-monitor", f"unix:{self.monitor},server=on,wait=off"]
        return argv + self.extra

    def _handed_over(self) -> list[str]:
        modules = []
        if self.kernel:
            modules.append(f"{_escape(self.kernel)} {_escape(self.kernel_line())}")
            modules += [_escape(self.initrd)] if self.initrd else []
        return ["-kernel", str(self.hypervisor), "-append", self.whole_line or self.boot_line(),
                *(["-initrd", ",".join(modules)] if modules else [])]

    def _from_medium(self) -> list[str]:
        if self.medium.suffix == ".img":
            return _disk("medium", self.medium, "on", 5)
        return ["-drive", f"id=medium,file={_escape(self.medium)},format=raw,if=none,media=cdrom,readonly=on",
                "-device", "ide-cd,drive=medium,bus=ide.5"]

    def _from_system(self) -> list[str]:
        return ["-drive", f"id=system,file={_escape(self.system)},format=qcow2,if=none",
                "-device", "ide-hd,drive=system,bus=ide.5,bootindex=0"]

    def _firmware(self) -> list[str]:
        # Only firmware in system management mode may write the flash, so that nobody else changes the keys.
        argv = ["-global", "driver=cfi.pflash01,property=secure,value=on"] if self.secure_boot else []
        for file, how in ((OVMF_SECURE_CODE if self.secure_boot else OVMF_CODE, ",readonly=on"), (self.uefi_variables, "")):
            argv += ["-drive", f"if=pflash,format=raw,file={_escape(file)}{how}"]
        return argv


def _escape(text) -> str:
    """A comma divides modules in -initrd, and options elsewhere; two of them stand for one."""
    return str(text).replace(",", ",,")


def _disk(name: str, file: Path, snapshot: str, port: int) -> list[str]:
    return ["-drive", f"id={name},file={_escape(file)},format=raw,if=none,snapshot={snapshot}",
            "-device", f"ide-hd,drive={name},bus=ide.{port}"]


def _accelerator(one_thread: bool) -> list[str]:
    if _kvm_works():
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg" + (",thread=single" if one_thread else ""), "-cpu", TCG_CPU]


_probing = threading.Lock()
_works: bool | None = None


def _kvm_works() -> bool:
    """Probed once, whichever thread asks first."""
    global _works
    with _probing:
        if _works is None:
            _works = _probe_kvm()
        return _works


def _probe_kvm() -> bool:
    """/dev/kvm may open and still hang every guest: the CPU must have it, and a guest must speak."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    if not {"svm", "vmx"} & set(flags) or not Path("/dev/kvm").exists():
        return False
    # A boot sector: mov dx, 0x3f8; mov al, 'K'; out dx, al; cli; hlt; jmp $-1
    sector = bytes.fromhex("baf803b04beefaf4ebfd").ljust(510, b"\0") + b"\x55\xaa"
    with tempfile.NamedTemporaryFile(prefix="xenolith-kvm-") as probe:
        probe.write(sector)
        probe.flush()
        argv = [BINARY, "-nodefaults", "-display", "none", "-machine", "q35,accel=kvm", "-cpu", "host", "-m", "64",
                "-drive", f"file={_escape(probe.name)},format=raw,if=ide,snapshot=on", "-serial", "stdio"]
        try:
            p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            return _speaks(p)
        except OSError:
            return False


def _speaks(probe: subprocess.Popen, seconds: float = 5) -> bool:
    import select

    try:
        ready, _, _ = select.select([probe.stdout], [], [], seconds)
        works = bool(ready) and probe.stdout.read(1) == b"K"
    finally:
        probe.kill()
        probe.wait()
    if not works:
        ui.note("KVM is there but its guests do not run; using QEMU's own CPU (TCG)")
    return works

"""The hypervisor as a program that UEFI starts itself, with a configuration file and no boot loader.

Both hypervisors start from the same small FAT disk, with the same files and configuration; stock
Xen's is Debian's xen.efi.
"""

import functools
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import firmware
from framework import LOGS, Boots, Hypervisor, Report, Suite, expect
from xenolith import apt, paths
from xenolith.qemu import OVMF_SECURE_VARIABLES, OVMF_VARIABLES, Machine
from xenolith.session import PATIENCE, Session

SECONDS = 180 * PATIENCE
STOCK_PACKAGE, STOCK_FILE = "xen-hypervisor-4.17-amd64_*.deb", "boot/xen-4.17-amd64.efi"


def _program(folder: Path, hypervisor: Hypervisor) -> Path:
    if hypervisor.is_xenolith:
        return paths.efi_program(hypervisor.image)
    # The package is there: the other way to stock Xen comes out of it.
    newest = max(paths.DEBS.glob(STOCK_PACKAGE), key=lambda p: p.stat().st_mtime)
    apt.extract(newest, folder / "stock", only=[f"./{STOCK_FILE}"])
    return folder / "stock" / STOCK_FILE


def _config(hypervisor: Hypervisor) -> str:
    machine = Machine(hypervisor.image, not hypervisor.is_xenolith, memory=1024, kernel_args=firmware.KERNEL_ARGS)
    return f"""# Both read this.
[global]
default=test

[test]
options={machine.boot_line()}
kernel=vmlinuz {machine.kernel_line()}
ramdisk=dom0.cpio.gz
"""


def _machine(folder: Path, hypervisor: Hypervisor, config: str, secure_boot: bool = False) -> dict:
    """Options of a machine with a disk whose FAT file system has what the firmware looks for on a removable medium."""
    disk = folder / "disk.img"
    (folder / "BOOTX64.cfg").write_text(config)
    shutil.copyfile(_program(folder, hypervisor), folder / "BOOTX64.EFI")
    shutil.copyfile(OVMF_SECURE_VARIABLES if secure_boot else OVMF_VARIABLES, folder / "variables.fd")
    with disk.open("wb") as f:
        f.truncate(48 << 20)
    files = [folder / "BOOTX64.EFI", folder / "BOOTX64.cfg", paths.VMLINUZ, paths.DOM0_INITRD]
    for argv in (["mformat", "-i", disk, "::"], ["mmd", "-i", disk, "::/EFI", "::/EFI/BOOT"], ["mcopy", "-i", disk, *files, "::/EFI/BOOT/"]):
        p = subprocess.run(argv, capture_output=True, text=True)
        expect(p.returncode == 0, f"{argv[0]}: {p.stderr}")
    # The screen comes from a graphics card's own firmware.
    return {"medium": disk, "secure_boot": secure_boot, "uefi_variables": folder / "variables.fd", "data_disk": None, "extra": ["-device", "VGA"]}


# For stock Xen: started so, it needs several times as long under TCG as by GRUB, which Xenolith does not.
suite = Suite("efi_binary", memory=1024, boot_seconds=900,
              prepare=lambda folder, hypervisor: _machine(folder, hypervisor, _config(hypervisor)))
for check in (firmware.domain_0_answers, firmware.kernel_finds_the_firmware, firmware.variables_are_read_and_written,
              firmware.kernel_has_the_screen):
    suite.check(check)


class On:
    """The suite for one of the hypervisors: in every run for Xenolith, with --long for stock Xen too."""

    def __init__(self, name: str):
        self.name = name

    def run(self, hypervisor: Hypervisor, report: Report, wanted) -> None:
        if hypervisor.name == self.name:
            suite.run(hypervisor, report, wanted)


on_xenolith, on_stock = On("xenolith"), On("stock")


def _mistakes(hypervisor: Hypervisor) -> list:
    checks = [(name, functools.partial(_refuses, hypervisor, name, change, words if hypervisor.is_xenolith else stock_words))
              for name, change, words, stock_words in MISTAKES]
    return [*checks, ("firmware_refuses_with_secure_boot", functools.partial(_firmware_refuses, hypervisor))]


mistakes = Boots("efi_mistakes", _mistakes)
MISTAKES = [
    # name, the configuration, what Xenolith's line says, what stock Xen says
    ("section_is_not_there", lambda c: c.replace("default=test", "default=other"),
     r"has no section \[other\]; correct default=", r"No initial domain kernel specified"),
    ("kernel_is_not_there", lambda c: c.replace("kernel=vmlinuz", "kernel=vmlinux"),
     r"there is no file \\EFI\\BOOT\\vmlinux; put it there, or correct kernel=", r"Open failed for vmlinux"),
]


def _firmware_refuses(hypervisor: Hypervisor) -> None:
    """Neither program is signed: nothing of it may run, and the firmware says why."""
    with tempfile.TemporaryDirectory(prefix="xenolith-test-") as folder:
        machine = hypervisor.machine(network=False, **_machine(Path(folder), hypervisor, _config(hypervisor), secure_boot=True))
        text = _console(machine, f"{hypervisor.name}-efi_mistakes-secure_boot", r"(Access Denied|Security Violation).*\n")
    expect(re.search(r"BdsDxe: failed to \w+ .*(Access Denied|Security Violation)", text), f"the firmware does not refuse it:\n{text[-1500:]}")
    expect("(XEN)" not in text, f"it has begun to run all the same:\n{text[-1500:]}")


def _console(machine: Machine, name: str, until: str) -> str:
    """What the firmware and the program write, up to that."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with Session(machine, LOGS / f"{name}.log", control=False) as session:
        end, text = time.monotonic() + SECONDS, ""
        while session.console.open and time.monotonic() < end and not re.search(until, text):
            text += _plain(session.console.read(1))
        return text


def _plain(data: bytes) -> str:
    """The firmware paints its console, with a sequence for each place."""
    return re.sub(r"\x1b\[[\d;]*[A-Za-z]|\r", "", data.decode(errors="replace"))


def _refuses(hypervisor: Hypervisor, name: str, change, words: str) -> None:
    """Says so, and gives the machine back to the firmware, which tries what else can be booted."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="xenolith-test-") as folder:
        machine = hypervisor.machine(network=False, **_machine(Path(folder), hypervisor, change(_config(hypervisor))))
        with Session(machine, LOGS / f"{hypervisor.name}-efi_mistakes-{name}.log", control=False) as session:
            end, text, said, after = time.monotonic() + SECONDS, "", None, None
            while session.console.open and time.monotonic() < end:
                text += _plain(session.console.read(1))
                said = re.search(words, text)
                if not after and (after := said and re.search(r"BdsDxe|Shell>|Boot Manager|PXE", text[said.end():])):
                    end = time.monotonic() + 5  # for the rest of the line
    expect(said, f"not said: /{words}/; the console ended so:\n{text[-1500:]}")
    expect(after, f"the firmware did not go on; the console ended so:\n{text[-1500:]}")
    if hypervisor.is_xenolith:
        expect(re.search(r"failed to start .*(Not Found|Invalid)", text), f"the firmware was not told of an error:\n{text[-1500:]}")

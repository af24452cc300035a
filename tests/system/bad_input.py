"""What cannot be booted is refused with one clear line; an unknown option is named in a warning.

Stock Xen is only asked to refuse: it says so in its own words.
"""

import functools
import re
import struct
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "guest"))
import bzimage  # noqa: E402
from framework import LOGS, Boots, Hypervisor, expect
from xenolith import paths
from xenolith.session import PATIENCE, Session

SECONDS = 120 * PATIENCE
# A panic, in stock Xen's words; and Domain 0's kernel at work, which must not come to be.
PANIC = re.compile(r"Panic on CPU|panic|Dom(ain )?0 (halted|crashed|has shut down)|\(XEN\) .*(refus|cannot|error|too little|not enough)", re.I)
STARTED = "xenolith: Domain 0 is up"


def _checks(hypervisor: Hypervisor) -> list:
    cases = CASES + (ONLY_XENOLITH if hypervisor.is_xenolith else [])
    checks = [(n, functools.partial(refuses, hypervisor, n, make, words)) for n, make, words in cases]
    return [*checks, ("unknown_option_is_named", functools.partial(_warns, hypervisor))]


suite = Boots("bad_input", _checks)


def console(hypervisor: Hypervisor, name: str, until: str, **options) -> str:
    """Boots, and gives the console's text up to what was waited for, the machine's end or SECONDS."""
    machine = hypervisor.machine(data_disk=None, network=False, **options)
    LOGS.mkdir(parents=True, exist_ok=True)
    with Session(machine, LOGS / f"{hypervisor.name}-boot-{name}.log", control=False) as session:
        end, text = time.monotonic() + SECONDS, b""
        while session.console.open and time.monotonic() < end and not re.search(until.encode(), text, re.I):
            text += session.console.read(1)
        session.process.poll()
        expect(text or not session.qemu_error(), f"QEMU itself refused: {session.qemu_error()}")
        return text.decode(errors="replace").replace("\r", "")


def refuses(hypervisor: Hypervisor, name: str, make, words: str) -> None:
    """A machine with the options that `make` gives, which gets a folder, is not booted; Xenolith says `words`."""
    with tempfile.TemporaryDirectory(prefix="xenolith-test-") as folder:
        text = console(hypervisor, name, STARTED, **make(Path(folder)))
    expect(STARTED not in text, "Domain 0 came up all the same")
    expect(PANIC.search(text), f"no refusal on the console, which ended so:\n{text[-1500:]}")
    if hypervisor.is_xenolith:
        lines = [l for l in text.splitlines() if re.search(words, l, re.I)]
        expect(lines, f"no line says what is wrong (looked for /{words}/):\n{text[-1500:]}")


def _warns(hypervisor: Hypervisor) -> None:
    text = console(hypervisor, "unknown_option", STARTED, cmdline="no_such_option=7", kernel_args="xenolith.nodisk")
    expect(STARTED in text, f"Domain 0 did not come up:\n{text[-1500:]}")
    if hypervisor.is_xenolith:  # stock Xen ignores unknown options, which is no virtue
        lines = [l for l in text.splitlines() if "no_such_option" in l and re.search(r"warn|unknown", l, re.I)]
        expect(lines, "no warning names no_such_option")


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _elf_without_notes() -> bytes:
    """The smallest 64-bit ELF with one loadable segment, and no notes: no kernel for Xen."""
    code = b"\xf4\xeb\xfd"  # hlt; jmp back
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x100000 + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x100000, 0x100000, 120 + len(code), 120 + len(code), 0x1000)
    return (header + segment + code).ljust(8192, b"\0")


def _vmlinuz() -> bytes:
    return paths.VMLINUZ.read_bytes()


def _flipped(data: bytes) -> bytes:
    """The compressed payload damaged in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes(b ^ 0xFF for b in data[middle : middle + 4096]) + data[middle + 4096 :]


CASES = [
    # name, options of the machine, and what Xenolith's line must speak of
    ("no_kernel", lambda d: {"kernel": None}, r"kernel|module"),
    ("kernel_is_no_kernel", lambda d: {"kernel": _file(d / "k", b"This is no kernel.\n" * 1000)}, r"kernel|bzImage|ELF"),
    ("kernel_is_damaged", lambda d: {"kernel": _file(d / "k", _flipped(_vmlinuz()))}, r"xz|decompress|unpack|damaged|corrupt|kernel"),
    ("kernel_is_truncated", lambda d: {"kernel": _file(d / "k", _vmlinuz()[:3_000_000])}, r"truncated|kernel|bzImage"),
    ("kernel_has_no_xen_notes", lambda d: {"kernel": _file(d / "k", _elf_without_notes())}, r"note"),
    ("dom0_mem_is_more_than_there_is", lambda d: {"memory": 768, "dom0_memory": 4096}, r"memory|dom0_mem"),
    ("machine_is_too_small", lambda d: {"memory": 96, "dom0_memory": 64}, r"memory|dom0_mem"),
]
# What stock Xen boots.
ONLY_XENOLITH = [
    ("kernel_is_packed_with_bzip2", lambda d: {"kernel": _file(d / "k", bzimage.make(_elf_without_notes(), "bzip2"))},
     r"packed with bzip2.*use one that is packed with XZ, gzip, zstd or lz4"),
]

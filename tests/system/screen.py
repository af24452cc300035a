"""What is seen on the machine's screen: the hypervisor's lines, and a panic, which stays there to be read.

Text is read from VGA's memory; a picture by comparing each of its fields with the letters that were built in.
"""

import gzip
import re
import runpy
import shutil
import tempfile
import time
from pathlib import Path

from framework import LOGS, ROOT, Failed, Hypervisor, Report, expect
from monitor import tell
from xenolith import iso, paths
from xenolith.qemu import OVMF_VARIABLES
from xenolith.session import PATIENCE, Session

SECONDS = 120 * PATIENCE
FONT = Path("/usr/share/consolefonts/spleen-8x16.psfu.gz")
PANIC, LAST_WORDS = "Panic on CPU", "Reset it by hand"  # with noreboot
STARTED = "xenolith: Domain 0 is up"


class Screens:
    """A suite in which each check is a boot of its own; of Xenolith's only: started by QEMU's own loader, stock Xen shows nothing on
    the screen, and its letters in a picture are others."""

    def run(self, hypervisor: Hypervisor, report: Report, wanted) -> None:
        for check in CHECKS if hypervisor.is_xenolith else []:
            if wanted(f"screen.{check.__name__}"):
                start, problem = time.monotonic(), ""
                with tempfile.TemporaryDirectory(prefix="xenolith-test-") as folder:
                    try:
                        check(hypervisor, Path(folder))
                    except (Failed, OSError) as e:
                        problem = str(e)
                report.result(f"{hypervisor.name} screen.{check.__name__}", time.monotonic() - start, problem)


suite = Screens()


def _boot(hypervisor: Hypervisor, name: str, folder: Path, cmdline: str, **options) -> Session:
    options = {"kernel": _no_kernel(folder)} | options
    machine = hypervisor.machine(data_disk=None, network=False, cmdline=cmdline, monitor=folder / "monitor", extra=["-device", "VGA"], **options)
    LOGS.mkdir(parents=True, exist_ok=True)
    return Session(machine, LOGS / f"{hypervisor.name}-screen-{name}.log", control=False)


def _no_kernel(folder: Path) -> Path:
    """The machine gets as far as to look at it."""
    (folder / "nothing").write_bytes(b"no kernel\n" * 1000)
    return folder / "nothing"


def _read_until(session: Session, pattern: str) -> str:
    """What comes on the serial line up to the pattern."""
    end, text = time.monotonic() + SECONDS, ""
    while session.console.open and time.monotonic() < end and not re.search(pattern, text):
        text += session.console.read(1).decode(errors="replace")
    expect(re.search(pattern, text), f"the serial line never says {pattern}, but ends with {text[-600:]}{session.qemu_error()}")
    return text


def _text(session: Session) -> list[str]:
    """Rows of VGA's text mode, 80 columns."""
    shown = tell(session.machine, f"xp /{80 * 25}hx 0xb8000")
    cells = [int(h, 16) & 0xff for line in re.findall(r"^[0-9a-f]{16}:(.*)", shown, re.M) for h in line.split()]
    expect(len(cells) == 80 * 25, f"QEMU shows {len(cells)} cells")
    rows = "".join(chr(c) if 32 <= c < 127 else " " for c in cells)
    return [rows[n : n + 80].rstrip() for n in range(0, len(rows), 80)]


def _picture(session: Session, folder: Path) -> list[str]:
    """Rows of letters in the frame buffer's picture."""
    file = folder / "screen.ppm"
    tell(session.machine, f"screendump {file}")
    _, size, _, pixels = file.read_bytes().split(b"\n", 3)
    width, height = map(int, size.split())
    lit = [any(pixels[n : n + 3]) for n in range(0, width * height * 3, 3)]
    _, font = runpy.run_path(str(ROOT / "cmake/font.py"))["glyphs"](gzip.decompress(FONT.read_bytes()))
    letters = {glyph: chr(code) for code, glyph in sorted(font.items(), reverse=True) if code < 127}

    def letter(x: int, y: int) -> str:
        rows = (lit[(y + n) * width + x : (y + n) * width + x + 8] for n in range(16))
        return letters.get(bytes(sum(bit << (7 - n) for n, bit in enumerate(row)) for row in rows), "\ufffd")

    return ["".join(letter(x, y) for x in range(0, width - 7, 8)).rstrip() for y in range(0, height - 15, 16)]


def _is_panic(rows: list[str]) -> None:
    text = "\n".join(rows)
    for words in (PANIC, LAST_WORDS):
        expect(re.search(words, text), f"the screen does not show {words}, but:\n{text}")


def panic_stays_in_text_mode(hypervisor, folder):
    with _boot(hypervisor, "text", folder, "console=com1,vga noreboot") as session:
        _read_until(session, LAST_WORDS)
        time.sleep(2)
        _is_panic(_text(session))
        time.sleep(8)
        expect(session.process.poll() is None, "the machine was reset in spite of noreboot")
        _is_panic(_text(session))


def panic_stays_on_a_frame_buffer(hypervisor, folder):
    """UEFI has no text mode; GRUB hands over the firmware's frame buffer."""
    shutil.copyfile(OVMF_VARIABLES, folder / "variables.fd")
    line = "console=com1,vga com1=115200,8n1 loglvl=info noreboot"
    iso.make(folder / "boot.iso", hypervisor.image, [iso.Entry("test", line, "")], initrd=_no_kernel(folder),
             more={"boot/vmlinuz": _no_kernel(folder)}, seconds=0)
    with _boot(hypervisor, "picture", folder, "", medium=folder / "boot.iso", uefi_variables=folder / "variables.fd") as session:
        said = _read_until(session, LAST_WORDS)
        time.sleep(2)
        rows = _picture(session, folder)
        _is_panic(rows)
        # Every line since the first, in order, as the serial line had them.
        lines = [l for l in said[said.index("(XEN)") :].replace("\r", "").split("\n") if l.isascii() and 0 < len(l) <= 100]
        missing = [l for l in lines if l.rstrip() not in rows]
        expect(not missing, f"not on the screen: {missing[:5]}; there is:\n" + "\n".join(rows))


def panic_waits_and_reboots(hypervisor, folder):
    with _boot(hypervisor, "reboot", folder, "console=com1,vga") as session:
        _read_until(session, r"Rebooting in 5 seconds")
        start = time.monotonic()
        expect(session.wait_end(60), "the machine was not reset")
        expect(time.monotonic() - start > 3.5, f"it was reset after {time.monotonic() - start:.1f} s: too soon to be read")


def domain_0_gets_the_screen_and_a_panic_takes_it_back(hypervisor, folder):
    with _boot(hypervisor, "back", folder, "console=com1,vga noreboot", kernel=paths.VMLINUZ,
               kernel_args="xenolith.nodisk console=tty0") as session:
        said = _read_until(session, r"dom0:~#")  # the shell is on hvc0; init's own lines go to the last console
        expect("the screen is Domain 0's" in said, "the hypervisor has not given the screen away")
        rows = "\n".join(_text(session))
        expect(STARTED in rows, f"Domain 0's own lines are not on it, but:\n{rows}")
        tell(session.machine, "mce -b 0 1 0xbd00000000000000 0x4 0 0")  # an uncorrected machine check, on all CPUs
        _read_until(session, LAST_WORDS)
        time.sleep(1)
        _is_panic(_text(session))


def panic_of_another_cpu_stays(hypervisor, folder):
    """The boot CPU is stopped otherwise than the rest: an INIT would have it begin with the firmware, which resets the others."""
    with _boot(hypervisor, "other", folder, "console=com1,vga noreboot", kernel=paths.VMLINUZ, kernel_args="xenolith.nodisk") as session:
        _read_until(session, r"dom0:~#")
        tell(session.machine, "mce 1 1 0xbd00000000000000 0x4 0 0")
        said = _read_until(session, LAST_WORDS)
        expect("Panic on CPU 1:" in said, f"not a panic of CPU 1, but:\n{said}")
        time.sleep(8)
        expect(session.process.poll() is None, "the machine was reset in spite of noreboot")
        _is_panic(_text(session))


def kept_screen_goes_on(hypervisor, folder):
    with _boot(hypervisor, "keep", folder, "console=com1,vga vga=keep", kernel=paths.VMLINUZ, kernel_args="xenolith.nodisk") as session:
        _read_until(session, STARTED)
        rows = "\n".join(_text(session))
        expect(STARTED in rows, f"what Domain 0 prints on the hypervisor's console is not there, but:\n{rows}")


CHECKS = [panic_stays_in_text_mode, panic_stays_on_a_frame_buffer, panic_waits_and_reboots,
          domain_0_gets_the_screen_and_a_panic_takes_it_back, panic_of_another_cpu_stays, kept_screen_goes_on]

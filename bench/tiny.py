"""What the tiny guest (rows*.cpp) counts, booted directly as Domain 0 of one hypervisor or of both at the same time."""

import concurrent.futures
import importlib.util
import pathlib
import re

import booting
import machine
import progress
from rows import LARGE, SMALL
from table import Figure

HERE = pathlib.Path(__file__).resolve().parent
BOOT_LINE = "console=com1 com1=115200,8n1 dom0_mem=128M spec-ctrl=eager-fpu"
SECONDS = 600  # for one boot with all rows, about 20 on an idle machine


def find_images(explicit=None):
    """The folder of the built guest, brought up to date by the tests' runner: it knows how."""
    if explicit:
        return pathlib.Path(explicit)
    spec = importlib.util.spec_from_file_location("guest_run", machine.ROOT / "tests/guest/run.py")
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    return runner.build_images(HERE, machine.ROOT / "build/bench")


def command(hypervisor, memory, images, tests, extra=""):
    selection = f" tests={'+'.join(sorted(tests))}" if tests else ""
    return machine.QEMU + ["-m", str(memory), "-kernel", str(hypervisor), "-append", f"{BOOT_LINE} {extra}".strip(),
                           "-initrd", f"{images / 'bench-pv64'}{selection}"]


def parse(lines):
    """{row: Figure} of what the guest printed."""
    matches = (re.match(r"BENCH (\w+) (\d+) (\d+) (\d+)", line) for line in lines)
    return {m[1]: Figure(int(m[2]), int(m[3]), int(m[4])) for m in matches if m}


def measure(name, hypervisor, images, rows, extra=""):
    """{row: Figure} of one hypervisor, and the console lines that say what went wrong."""
    tests = {row.test for row in rows}

    def lines_of(memory, tests, more=""):
        lines = machine.boot(command(hypervisor, memory, images, tests, f"{extra} {more}"), "TESTS DONE", SECONDS)
        progress.say(f"{name} has booted with {memory} MiB")
        return lines

    lines = lines_of(SMALL, tests)
    figures = parse(lines)
    if "boot" in tests:
        boots = {SMALL: lines, LARGE: lines_of(LARGE, {"boot"})}
        # Xenolith waits for no clock's edge, and has no such stamps.
        stamped = {mib: lines_of(mib, {"boot"}, booting.STAMPED) for mib in boots} if name == "stock" else boots
        firmware = {mib: machine.firmware_done(command(images / "bench-probe", mib, images, {"boot"}), SECONDS)
                    for mib in boots}
        figures |= booting.figures(boots, stamped, firmware)
    trouble = [line for line in lines if " FAIL " in line]
    if any(figures.get(row.name) is None for row in rows):
        trouble += lines[-10:]
    return figures, trouble


def run(hypervisors, images, rows, extra=""):
    """{hypervisor: measure()'s answer}; each has a core of its own, if there are two."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        jobs = {name: pool.submit(measure, name, image, images, rows, extra) for name, image in hypervisors.items()}
        return {name: job.result() for name, job in jobs.items()}

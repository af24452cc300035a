"""What programs cost in a Debian guest, and what guests' coming and going costs, on one hypervisor or on both at once.

Under QEMU's -icount the TSC counts the instructions of the whole machine, so neither this machine nor
its load shows in the figures (debian_boot.py says what is booted).
"""

import concurrent.futures
import statistics
import time

import machine
import progress
import unpack
from debian_boot import SECONDS, command, images, parse
from table import Figure

LOGS = machine.ROOT / "build/bench-logs"


def from_stamps(stamps, firmware):
    """The rows that are a span between two stamps."""
    spans = {"boot_to_shell": [stamps["shell"][0] - firmware] if "shell" in stamps and firmware else [],
             "list": [after - before for name, (before, after) in stamps.items() if name.startswith("list")]}
    for kind, suffix in (("plain", ""), ("devices", "_devices")):
        for n in "123":
            create, destroy, init = (stamps.get(name) for name in (
                f"create_{kind}{n}", f"destroy_{kind}{n}", f"guest_{kind}{n}_init"))
            if create and init:  # the second of `init` is when the guest's kernel began to count
                spans.setdefault(f"create{suffix}", []).append(init[1] - create[0])
                spans.setdefault("guest_boot", []).append(init[0] - init[1])
            if destroy:
                spans.setdefault(f"destroy{suffix}", []).append(destroy[1] - destroy[0])
    return {row: Figure(min(s), statistics.median_low(s), len(s)) for row, s in spans.items() if s}


def whole_run(name, image, folder, probe, rows, extra):
    """{row: Figure} of the boot in which guests come and go, and its console."""
    started = time.monotonic()
    parts = ",,".join(sorted({row.test for row in rows}))  # a comma divides modules, two stand for one
    line = f"xenolith.nodemo xenolith.nodisk xenolith.parts={parts}"
    kernel, initrd = folder / "vmlinux", folder / "initrd"
    firmware = machine.firmware_done(command(probe, kernel, line, initrd), SECONDS)
    LOGS.mkdir(parents=True, exist_ok=True)
    with open(LOGS / f"{name}-debian.log", "w", encoding="utf8") as log:
        def each(line):
            print(line, file=log, flush=True)
            if line.startswith("xenolith: "):
                progress.say(f"{time.monotonic() - started:5.0f} s  {name}: {line.removeprefix('xenolith: ')}")

        lines = machine.boot(command(image, kernel, line, initrd, extra), "BENCH DONE", SECONDS, each)
    figures, stamps = parse(lines)
    return figures | from_stamps(stamps, firmware), lines


def measure(name, image, folder, probe, rows, extra):
    """{row: Figure} of one hypervisor, and the console lines that say what went wrong."""
    figures, lines = {}, []
    if whole := [row for row in rows if row.test != "unpack"]:
        figures, lines = whole_run(name, image, folder, probe, whole, extra)
    if len(whole) < len(rows):
        figures["unpack"] = unpack.measure(name, image, folder, probe, extra)
    bad = [line for line in lines if "did not" in line or "failed" in line]
    if any(figures.get(row.name) is None for row in rows):
        bad += lines[-15:]
    return figures, bad


def run(hypervisors, guest_images, rows, extra=""):
    """{hypervisor: measure()'s answer}; each has a core of its own, if there are two. `guest_images` has the probe."""
    probe = guest_images / "bench-probe"
    with images() as folder, concurrent.futures.ThreadPoolExecutor() as pool:
        jobs = {name: pool.submit(measure, name, image, folder, probe, rows, extra)
                for name, image in hypervisors.items()}
        return {name: job.result() for name, job in jobs.items()}

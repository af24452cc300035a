#!/usr/bin/env python3
"""Counts what programs cost in a Debian guest, and what guests' coming and going costs, on both hypervisors.

Domain 0 is Debian's kernel with the tests' initramfs, the guest the same kernel; debian/dom0 and
debian/guest are what they do, with nobody outside to wait for. Under QEMU's -icount the TSC counts
the instructions of the whole machine, so neither this machine nor its load shows in the figures.
One boot takes some minutes; both hypervisors run at the same time, one on each core.
"""
import argparse
import concurrent.futures
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import run as tiny
from table import Row, complete, show, write_json

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "scripts"))

from xenolith import demo_disk, paths  # noqa: E402
from xenolith.cpio import Archive  # noqa: E402
from xenolith.kernel import DEBIAN  # noqa: E402

# RDTSCP is broken in this QEMU for PV guests (scripts/xenolith/qemu.py).
QEMU = [re.sub("^max,", "max,-rdtscp,", word) for word in tiny.QEMU] + ["-m", "1280"]
BOOT_LINE = "console=com1 com1=115200,8n1 dom0_mem=768M spec-ctrl=eager-fpu"
KERNEL_LINE = "console=hvc0 loglevel=4 nokaslr xenolith.nodemo xenolith.nodisk xenolith.parts="
LOGS = ROOT / "build/bench-logs"
SECONDS = 3 * 3600  # for one boot; a machine may be very busy

ROWS = [
    Row("boot_to_shell", "", "boot to Domain 0's shell, its kernel not packed"),
    Row("system_call", "loops", "system call (getppid)"),
    Row("signal", "loops", "signal to oneself"),
    Row("mmap", "loops", "mmap and munmap, 16 pages"),
    Row("mmap_touched", "loops", "mmap, write to each of 16 pages, munmap"),
    Row("mprotect", "loops", "mprotect of a page in use"),
    Row("page_fault", "loops", "page fault, a new page"),
    Row("copy_on_write", "loops", "page fault, a page shared since fork"),
    Row("pipe", "loops", "a byte through a pipe to another process and back"),
    Row("fork_exit", "loops", "fork, exit, wait"),
    Row("fork_exec", "loops", "fork, exec, exit, wait"),
    Row("disk_write", "disk", "blkfront, a KiB written (64 KiB a request)"),
    Row("disk_read", "disk", "blkfront, a KiB read (64 KiB a request)"),
    Row("disk_read_page", "disk", "blkfront, a request of 4 KiB"),
    Row("net_send", "network", "netfront, a KiB sent over TCP"),
    Row("net_receive", "network", "netfront, a KiB received over TCP"),
    Row("net_round_trip", "network", "netfront, a byte to Domain 0 and back over TCP"),
    Row("create", "plain", "xl create to the guest's kernel"),
    Row("create_devices", "network", "the same with a disk and a NIC"),
    Row("guest_boot", "plain", "the guest's kernel to its init"),
    Row("destroy", "plain", "xl destroy"),
    Row("destroy_devices", "network", "the same with a disk and a NIC"),
    Row("list", "plain", "xl list"),
]


def build(folder):
    """The program of debian/, linked statically: one file for Domain 0 and the guest."""
    program = folder / "loops"
    subprocess.run(["g++", "-std=gnu++23", "-O2", "-Wall", "-Wextra", "-Werror", "-static",
                    *map(str, sorted((HERE / "debian").glob("*.cpp"))), "-o", str(program)], check=True)
    return program


def make_images(folder):
    """Domain 0's kernel, not packed, and its initramfs with all that the run needs behind it."""
    loops, vmlinux = build(folder), DEBIAN.unpacked()
    guest = demo_disk.guest_initrd(DEBIAN)
    guest.file("/bench/loops", loops)
    guest.file("/bench/guest", HERE / "debian/guest")
    more = Archive()
    more.file("/bench/loops", loops)
    more.data("/bench/vmlinux", vmlinux)
    more.data("/bench/initrd.img", guest.bytes())
    more.file("/etc/xenolith/shell", HERE / "debian/dom0")
    base = paths.DOM0_INITRD.read_bytes()
    (folder / "vmlinux").write_bytes(vmlinux)
    (folder / "initrd").write_bytes(base + bytes(-len(base) % 4) + more.bytes())


def boot(image, modules, extra="", each=lambda line: None):
    """The console of one boot, up to the end of the run, and each line as it comes; `modules` is QEMU's -initrd."""
    argv = QEMU + ["-kernel", str(image), "-append", f"{BOOT_LINE} {extra}".strip(), "-initrd", modules]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    timer = threading.Timer(SECONDS, process.kill)
    timer.start()
    lines = []
    try:
        for raw in process.stdout:
            lines.append(raw.decode("utf8", "replace").rstrip())
            each(lines[-1])
            if lines[-1].startswith("BENCH DONE"):
                break
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    return lines


def parse(lines):
    """What debian/loops.cpp printed: {row: (minimum, median)}, and {stamp: (first, second)}."""
    figures, stamps = {}, {}
    for line in lines:
        if match := re.match(r"BENCH (\w+) ([\d.]+) ([\d.]+)", line):
            figures[match[1]] = (round(float(match[2])), round(float(match[3])))
        elif match := re.match(r"STAMP (\w+) (\d+) (\d+)", line):
            stamps[match[1]] = (int(match[2]), int(match[3]))
    return figures, stamps


def from_stamps(stamps, firmware):
    """The rows that are a span between two stamps."""
    spans = {"boot_to_shell": [stamps["shell"][0] - firmware] if "shell" in stamps else [],
             "list": [after - before for name, (before, after) in stamps.items() if name == "list"]}
    for kind, suffix in (("plain", ""), ("devices", "_devices")):
        for n in "123":
            create, destroy, init = (stamps.get(name) for name in (
                f"create_{kind}{n}", f"destroy_{kind}{n}", f"guest_{kind}{n}_init"))
            if create and init:  # the second of `init` is when the guest's kernel began to count
                spans.setdefault(f"create{suffix}", []).append(init[1] - create[0])
                spans.setdefault("guest_boot", []).append(init[0] - init[1])
            if destroy:
                spans.setdefault(f"destroy{suffix}", []).append(destroy[1] - destroy[0])
    return {row: (min(s), statistics.median_low(s)) for row, s in spans.items() if s}


def measure(image, name, folder, probe, rows, extra):
    """{row: (minimum, median)} of one hypervisor, and the console lines that say what went wrong."""
    started = time.monotonic()
    parts = ",,".join(sorted({row.test for row in rows}))  # a comma divides modules, two stand for one
    modules = f"{folder / 'vmlinux'} {KERNEL_LINE}{parts},{folder / 'initrd'}"
    firmware = int(boot(probe, modules)[-1], 16)
    LOGS.mkdir(parents=True, exist_ok=True)
    with open(LOGS / f"{name}-debian.log", "w", encoding="utf8") as log:
        def each(line):
            print(line, file=log, flush=True)
            if line.startswith("xenolith: "):
                said = line.removeprefix("xenolith: ")
                print(f"{time.monotonic() - started:5.0f} s  {name}: {said}", file=sys.stderr, flush=True)

        lines = boot(image, modules, extra, each)
    figures, stamps = parse(lines)
    figures.update(from_stamps(stamps, firmware))
    bad = [line for line in lines if "did not" in line or "failed" in line]
    if any(row.name not in figures for row in rows):
        bad += lines[-15:]
    return figures, bad


def run(hypervisors, images=None, pattern=None, extra="", out=print):
    """Measures the rows whose name matches `pattern` on each of {name: image}; prints the table of
    medians; returns one dict a row, with the minima as well."""
    rows = [row for row in ROWS if not pattern or re.search(pattern, row.name)]
    probe = tiny.find_images(images) / "bench-probe"
    with tempfile.TemporaryDirectory(prefix="xenolith-bench-") as scratch:
        folder = pathlib.Path(scratch)
        make_images(folder)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            jobs = {name: pool.submit(measure, image, name, folder, probe, rows, extra)
                    for name, image in hypervisors.items()}
            measured = {name: job.result() for name, job in jobs.items()}
    results = show(rows, {name: {row: pair[1] for row, pair in figures.items()}
                          for name, (figures, _) in measured.items()}, out)
    for result in results:
        result["minimum"] = {name: figures.get(result["row"], (None,))[0]
                             for name, (figures, _) in measured.items()}
    for name, (_, bad) in measured.items():
        for line in bad:
            out(f"{name}| {line}")
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--xenolith", help="Xenolith's image")
    parser.add_argument("--stock", help="stock Xen 4.17, unpacked")
    parser.add_argument("--json", metavar="FILE", help="write one object a row")
    parser.add_argument("--row", "--filter", dest="row", metavar="RE", help="rows to measure")
    parser.add_argument("--args", default="", help="added to both boot lines, such as xpti=true")
    parser.add_argument("--images", help="folder of the built benchmark guest, for its probe")
    args = parser.parse_args()
    hypervisors = {n: image for n, image in (("xenolith", args.xenolith), ("stock", args.stock)) if image}
    if not hypervisors:
        parser.error("--xenolith IMAGE and --stock IMAGE are needed, or one of them")
    results = run(hypervisors, args.images, args.row, args.args, lambda line: print(line, flush=True))
    if args.json:
        write_json(args.json, results)
    return 0 if complete(results, hypervisors) else 1


if __name__ == "__main__":
    sys.exit(main())

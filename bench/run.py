#!/usr/bin/env python3
"""Counts what the hypervisor's operations cost, on Xenolith and on stock Xen in one run.

The benchmark guest (rows.cpp) boots directly as Domain 0 under QEMU's -icount, where the TSC counts
executed instructions: the numbers do not depend on the machine or its load. A lower ratio is better.
"""
import argparse
import concurrent.futures
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import threading

import picture
from table import Row, complete, show, shown, write_json

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
QEMU = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", "q35", "-smp", "1",
        "-accel", "tcg,thread=single", "-cpu", "max,-smap,-rdrand,-rdseed", "-no-reboot", "-serial",
        "stdio", "-icount", "shift=0,sleep=off", "-seed", "1", "-net", "none",
        "-rtc", "base=2026-01-01T00:00:00,clock=vm"]
BOOT_LINE = "console=com1 com1=115200,8n1 dom0_mem=128M spec-ctrl=eager-fpu"
SECONDS = 300        # for one boot with all rows, about 20 on an idle machine
KEPT = HERE / "kept.jsonl"  # Xenolith's figures, row by row: check()
TOLERANCE = 0.03
SMALL, LARGE = 512, 4096  # MiB, between which memory's share by the page is taken


ROWS = [
    Row("null_hypercall", "null_hypercall", "null hypercall (xen_version)", 0.45),
    Row("unknown_hypercall", "null_hypercall", "unknown hypercall"),
    Row("multicall_one", "multicall", "multicall, one entry"),
    Row("multicall_further", "multicall", "multicall, each further entry", 0.35),
    Row("mmu_update_one", "mmu_update", "mmu_update, one entry", 0.45),
    Row("mmu_update_further_same", "mmu_update", "mmu_update, each further, same value", 0.35),
    Row("mmu_update_further_set_clear", "mmu_update", "mmu_update, each further, set and clear",
        0.45),
    Row("update_va_mapping", "update_va_mapping", "update_va_mapping", 0.45),
    Row("set_segment_base", "segments", "set_segment_base"),
    Row("stack_switch", "segments", "stack_switch"),
    Row("evtchn_send", "evtchn_send", "evtchn_send to oneself, upcall masked", 0.45),
    Row("sched_yield", "sched_yield", "sched_yield with nothing else to run", 0.15),
    Row("grant_map_unmap", "grants", "grant map and unmap, own grant", 0.45),
    Row("grant_copy_one", "grants", "grant copy of 64 bytes, one", 0.30),
    Row("grant_copy_further", "grants", "grant copy of 64 bytes, each further"),
    Row("emulated_read_cr0", "emulation", "emulated mov %cr0 through #GP", 0.30),
    Row("iret", "iret", "iret, kernel to kernel", 0.45),
    Row("page_fault_bounced", "page_fault", "#PF bounced to the guest", 0.45),
    Row("page_fault_and_back", "page_fault", "#PF bounced to the guest, and back by iret", 0.45),
    Row("system_call", "system_call", "system call, from user mode to the kernel and back"),
    Row("new_baseptr", "new_baseptr", "new base pointer (CR3), the current one", 0.45),
    Row("new_baseptr_switch", "new_baseptr", "new base pointer (CR3), another one"),
    Row("pin_table", "pin_table", "L1 table of 512 entries checked and pinned"),
    Row("unpin_table", "pin_table", "L1 table of 512 entries unpinned and dropped"),
    Row("timer_interrupt", "timer", "timer's interrupt, upcall masked"),
    Row("vcpu_switch", "vcpu_switch", "switch between two guests' vCPUs", 0.40),
    Row("event_round", "event_round", "event to another domain, and one back from its upcall"),
    Row("boot", "boot", "boot, 512 MiB, first instruction to Domain 0's first", 0.10),
    # The goal is 26 bytes a page and 6 MiB where stock keeps 38.9 and 9.
    Row("memory_per_page", "boot", "memory kept for each page", 26 / 38.9, "bytes"),
    Row("memory_fixed", "boot", "memory kept besides", 6 / 9, "KiB"),
    Row("memory_small", "boot", f"memory kept of {SMALL} MiB", unit="KiB"),
    Row("memory_large", "boot", f"memory kept of {LARGE} MiB", unit="KiB"),
    Row("memory_guest", "guest_memory", "memory kept for a guest of 64 MiB, one vCPU", unit="KiB"),
]


def boot(hypervisor, memory, images, tests, extra=""):
    """The console of one boot, up to the end of the run."""
    selection = f" tests={'+'.join(sorted(tests))}" if tests else ""
    argv = QEMU + ["-m", str(memory), "-kernel", str(hypervisor), "-append",
                   f"{BOOT_LINE} {extra}".strip(), "-initrd", f"{images / 'bench-pv64'}{selection}"]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    timer = threading.Timer(SECONDS, process.kill)
    timer.start()
    lines = []
    try:
        for raw in process.stdout:
            lines.append(raw.decode("utf8", "replace").rstrip())
            if lines[-1].startswith("TESTS DONE"):
                break
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    return lines


def number(lines, pattern):
    for line in lines:
        if match := re.match(pattern, line):
            return int(match[1], 0)
    return None


def memory_kept(pages_by_size):
    """{row: figure}: what two machine sizes lack, and the line through both."""
    if None in pages_by_size.values():
        return {}
    small, large = (mib * 1024 - pages_by_size[mib] * 4 for mib in (SMALL, LARGE))  # KiB
    by_mib = (large - small) / (LARGE - SMALL)
    return {"memory_small": small, "memory_large": large,
            "memory_per_page": round(by_mib * 1024 / 256, 1),
            "memory_fixed": round(small - by_mib * SMALL)}


def measure(hypervisor, images, rows, extra=""):
    """{row: figure} of one hypervisor, and the console lines that say what went wrong."""
    tests = {row.test for row in rows}
    lines = boot(hypervisor, SMALL, images, tests, extra)
    figures = {row.name: number(lines, rf"BENCH {row.name} (\d+) ") for row in rows}
    if "boot" in tests:
        firmware = int(boot(images / "bench-probe", SMALL, images, tests, extra)[-1], 16)
        first = number(lines, r"BOOT tsc (\d+)")
        figures["boot"] = first - firmware if first else None
        large = boot(hypervisor, LARGE, images, {"boot"}, extra)
        figures |= memory_kept({SMALL: number(lines, r"BOOT guest_pages (\d+)"),
                                LARGE: number(large, r"BOOT guest_pages (\d+)")})
    trouble = [line for line in lines if " FAIL " in line]
    if any(figures.get(row.name) is None for row in rows):
        trouble += lines[-10:]
    return figures, trouble


def find_images(explicit=None):
    """The folder of the built guest, brought up to date by the tests' runner: it knows how."""
    if explicit:
        return pathlib.Path(explicit)
    spec = importlib.util.spec_from_file_location("guest_run", ROOT / "tests/guest/run.py")
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    return runner.build_images(HERE, ROOT / "build/bench")


def run(xenolith, stock, images=None, pattern=None, extra="", out=print):
    """Measures the rows whose name matches `pattern`; prints the table; returns one dict a row.

    `extra` is added to both boot lines. A figure that could not be taken is None."""
    images = find_images(images)
    rows = [row for row in ROWS if not pattern or re.search(pattern, row.name)]
    hypervisors = {n: image for n, image in (("xenolith", xenolith), ("stock", stock)) if image}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        jobs = {name: pool.submit(measure, image, images, rows, extra)
                for name, image in hypervisors.items()}
        measured = {name: job.result() for name, job in jobs.items()}
    results = show(rows, {name: figures for name, (figures, _) in measured.items()}, out)
    for name, (_, trouble) in measured.items():
        for line in trouble:
            out(f"{name}| {line}")
    return results


def write_svg(path, results):
    """The same as a picture (picture.py)."""
    texts = {row.name: row.text for row in ROWS}
    rows = [(texts[r["row"]], r["ratio"], r["goal"]) for r in results]
    pathlib.Path(path).write_text(picture.draw(rows))


def check(xenolith, images, kept_file, keep, out=print):
    """Compares Xenolith's counts with those kept in the tree; with `keep` writes them anew.

    Counts are exact, so a row fails that got more than 3% worse; returns the number that failed."""
    kept = {}
    if kept_file.exists():
        kept = {k["row"]: k["instructions"] for k in map(json.loads, kept_file.read_text().splitlines())}
    rows = [row for row in ROWS if row.test != "boot" and row.unit == "instructions"]
    figures, trouble = measure(xenolith, find_images(images), rows)
    failed = 0
    for row in rows:
        now, before = figures[row.name], kept.get(row.name)
        bad = now is None or (not keep and before is not None and now > before * (1 + TOLERANCE))
        failed += bad
        out(f"{'FAIL' if bad else 'pass'}  bench {row.name}  {shown(now, ',')} instructions, kept {shown(before, ',')}")
    for line in trouble:
        out(f"xenolith| {line}")
    if failed:
        out("A worse figure is kept by `bench/run.py --keep` in a commit that gives the old, the new and the reason.")
    if keep and not failed:
        kept_file.write_text("".join(json.dumps({"row": row.name, "instructions": figures[row.name]}) + "\n"
                                     for row in rows))
    out(f"{len(rows) - failed} passed, {failed} failed")
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--xenolith", help="Xenolith's image")
    parser.add_argument("--stock", help="stock Xen 4.17, unpacked")
    parser.add_argument("--json", metavar="FILE", help="write one object a row")
    parser.add_argument("--svg", metavar="FILE", help="draw the ratios")
    parser.add_argument("--row", "--filter", dest="row", metavar="RE", help="rows to measure")
    parser.add_argument("--args", default="", help="added to both boot lines, such as xpti=true")
    parser.add_argument("--images", help="folder of the built benchmark guest")
    parser.add_argument("--check", action="store_true",
                        help="only Xenolith, compared with the figures kept in the tree")
    parser.add_argument("--keep", action="store_true", help="write these figures anew")
    args = parser.parse_args()
    if args.check or args.keep:
        if not args.xenolith:
            parser.error("--xenolith IMAGE is needed")
        return 1 if check(args.xenolith, args.images, KEPT, args.keep) else 0
    if not args.xenolith and not args.stock:
        parser.error("--xenolith IMAGE and --stock IMAGE are needed, or one of them")
    results = run(args.xenolith, args.stock, args.images, args.row, args.args,
                  lambda line: print(line, flush=True))
    if args.json:
        write_json(args.json, results)
    if args.svg:
        write_svg(args.svg, results)
    wanted = [n for n, image in (("xenolith", args.xenolith), ("stock", args.stock)) if image]
    return 0 if complete(results, wanted) else 1


if __name__ == "__main__":
    sys.exit(main())

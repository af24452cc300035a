"""`./xenolith test`: lint, unit tests, fuzzers, tiny guests, instruction counts, and systems, in this order."""

import collections
import os
import re
import subprocess
import time

from . import build, device_model, iso, lint, packages, paths, programs, run, ui
from .errors import Failure

DESCRIPTION = """Installs what is missing, builds, and runs the tests: lint, docs, unit (on this machine, with
sanitizers), fuzz (with --long: a search for inputs that break something), guest (tiny guests, on stock Xen and on Xenolith), bench (instruction counts beside those
kept in the tree), system (Debian's kernel and tools, on both). Each test is a line; the last line is 'N passed, N failed'."""
EPILOG = "Exit status: 0 if nothing failed, 1 if a test failed or could not be run, 2 for a wrong option."
PARTS = ["lint", "docs", "unit", "fuzz", "guest", "bench", "system"]
FUZZ_SECONDS = 300  # for each fuzzer, with --long
# Of the tiny guests, those that run on the debug build every time: where most locks are taken.
DEBUG_GUESTS = "^(child|domctl|domain|evtchn|grant|memory|mmu|mmuext|pin|sysctl|vcpu)_"
# And one for each way into the hypervisor; they share a boot.
QUICK_GUESTS = "^(evtchn_interdomain_self|evtchn_upcall|fault_page_read|fault_divide|cpuid_policy|domain_list)$"


def add_arguments(p) -> None:
    how = p.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="unit tests, a few tiny guests, one boot: under three minutes")
    how.add_argument("--long", action="store_true", help="also what takes longer than 45 minutes")
    p.add_argument("--part", choices=PARTS, action="append", help="only this part; may be repeated")
    p.add_argument("--filter", metavar="REGEX", help="only tests whose name matches (guest and system)")


def main(options) -> int:
    packages.need(packages.BUILD + packages.RUN + packages.TEST + iso.PACKAGES)
    run.prepare()
    totals = collections.Counter()
    try:
        image = build.hypervisor()
    except Failure as e:
        ui.error(e.line())
        print("FAIL  build", flush=True)
        print("0 passed, 1 failed", flush=True)
        return 1
    steps = {"lint": lint.main, "docs": _docs, "unit": _unit, "fuzz": _fuzz, "guest": _guest, "bench": _bench, "system": _system}
    for part in options.part or PARTS:
        start = time.monotonic()
        ui.note(f"== {part}")
        totals.update(steps[part](options, image))
        ui.note(f"== {part}: {time.monotonic() - start:.0f} s")
    skipped = f", {totals['skipped']} skipped" if totals["skipped"] else ""
    print(f"{totals['passed']} passed, {totals['failed']} failed{skipped}", flush=True)
    return 1 if totals["failed"] else 0


def _docs(_options, _image) -> dict[str, int]:
    return programs.run_counting(paths.ROOT / "tests/docs/run.py", [])


def _unit(options, image) -> dict[str, int]:
    """What runs on this machine: the hypervisor's C++ in the host build, and the Python of the commands."""
    counts = collections.Counter(programs.run_counting(paths.ROOT / "tests/python/run.py", []))
    counts.update(_ctest(options, image))
    return counts


def _ctest(_options, _image) -> dict[str, int]:
    """ctest of the preset `host`; its lines are brought into the form of the other parts."""
    start = time.monotonic()
    try:
        build.cmake("host")
    except Failure as e:
        ui.error(e.line())
        print(f"FAIL  unit build  {time.monotonic() - start:.1f} s", flush=True)
        return {"passed": 0, "failed": 1}
    p = subprocess.Popen(["ctest", "--preset", "host", "--output-on-failure", "-j", str(os.cpu_count() or 1)], cwd=paths.ROOT,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    counts, other = collections.Counter(passed=0, failed=0), []
    with p:
        for line in p.stdout:
            m = re.match(r"\s*\d+/\d+ Test\s+#\d+: (\S+) \.*\s*(\*{0,3}\S.*?)\s+([\d.]+) sec", line)
            if not m:
                other.append(line)
                continue
            good = m[2] == "Passed"
            counts["passed" if good else "skipped" if "Skipped" in m[2] else "failed"] += 1
            print(f"{'pass' if good else 'FAIL'}  unit {m[1]}  {float(m[3]):.1f} s", flush=True)
    if counts["failed"] or p.returncode or not sum(counts.values()):
        print("".join(other), end="", flush=True)
        counts["failed"] += 0 if counts["failed"] else 1
    return counts


def _fuzz(options, _image) -> dict[str, int]:
    """The search by libFuzzer; what is kept from earlier ones runs with the unit tests, every time."""
    if not options.long:
        return {}
    packages.need(packages.FUZZ)
    try:
        build.cmake("fuzz")
    except Failure as e:
        ui.error(e.line())
        print("FAIL  fuzz build", flush=True)
        return {"passed": 0, "failed": 1}
    return programs.run_counting(paths.ROOT / "tests/fuzz/run.py", ["--seconds", str(FUZZ_SECONDS)])


def _guest(options, image) -> dict[str, int]:
    pattern = options.filter or (QUICK_GUESTS if options.quick else None)
    runner = paths.ROOT / "tests/guest/run.py"
    counts = collections.Counter(programs.run_counting(runner, _both(image, pattern)))
    if not options.quick and not options.filter:
        # Once more with page-table isolation, which this CPU would not ask for.
        counts.update(programs.run_counting(runner, _both(image, pattern) + ["--quick", "--cmdline", "xpti=true loglvl=info"]))
        # And the debug build, which panics where locks are taken out of order or an invariant is broken.
        debug = _both(build.hypervisor(debug=True), None if options.long else DEBUG_GUESTS)
        counts.update(programs.run_counting(runner, debug + ["--only", "xenolith", "--label", "debug"]))
        # Deliberate faults: whether they still fit the source, and with --long whether tests notice them.
        counts.update(programs.run_counting(paths.ROOT / "tests/guest/faults.py", [] if options.long else ["--check"]))
    return counts


def _bench(options, image) -> dict[str, int]:
    if options.quick or options.filter:
        return {}
    counts = collections.Counter(programs.run_counting(paths.ROOT / "bench/run.py", ["--xenolith", str(image), "--check"]))
    # That the comparison is fair: what protects stock protects us, as the machine asks and with page-table isolation.
    for extra in ([], ["--args", "xpti=true"]):
        counts.update(programs.run_counting(paths.ROOT / "bench/defences.py", _both(image, None) + extra))
    return counts


def _system(options, image) -> dict[str, int]:
    how = ["--quick"] if options.quick else ["--long"] if options.long else []
    if options.long or options.filter:
        device_model.build()
    return programs.run_counting(paths.ROOT / "tests/system/run.py", _both(image, options.filter) + how)


def _both(image, pattern) -> list[str]:
    argv = ["--xenolith", str(image), "--stock", str(paths.STOCK_XEN)]
    return argv + (["--filter", pattern] if pattern else [])

#!/usr/bin/env python3
"""Whether two CPUs do twice as much as one: Xenolith and stock Xen in turn, by wall time.

The guest (smp.cpp) boots as Domain 0 of a machine with two CPUs, each a thread of QEMU's own. Two of
its vCPUs, or one of its and one of a second domain, repeat an operation, first each alone and then
both at once, for 20 ms each and many times in turn, and count what they do in windows of 2 ms. A rate
is the best of several boots; a ratio is the median of each turn's own, since a machine's speed may
change from one second to the next. The two hypervisors never run at the same time. Needs a machine
with two idle CPUs: the run says when it had not got them, and its exit status is then 3.
"""
import argparse
import collections
import os
import pathlib
import re
import statistics
import subprocess
import sys
import threading
import time

import run
from table import write_json

QEMU = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", "q35", "-smp", "2", "-m",
        "512", "-accel", "tcg,thread=multi", "-cpu", "max,-smap,-rdtscp", "-no-reboot", "-serial",
        "stdio", "-net", "none"]
BOOT_LINE = f"{run.BOOT_LINE} dom0_max_vcpus=2 dom0_vcpus_pin"
SECONDS = 180  # for one boot, which takes about 25 s
WINDOW = 0.002  # seconds (smp.cpp)
STRETCH = 5     # so many windows together give a rate: 10 ms
BUSY = 0.25        # CPUs in use just before the run, above which the machine is not idle
STEADY = 0.15      # by how much the ratios of the boots may differ in their middle half
AT_ONCE = 0.90     # the part of the windows in which both vCPUs must have advanced
WORSE = 0.05       # by how much a ratio may lie below stock's before it counts as worse: noise
TOO_LOADED = 3

PLACES = {"one_domain": "one domain", "two_domains": "two domains"}
OPERATIONS = {"null_hypercall": "null hypercall", "evtchn_send": "evtchn_send to oneself",
              "grant_map_unmap": "grant map and unmap, of the other's", "grant_copy": "grant copy, of the other's",
              "mmu_update": "mmu_update, set and clear", "update_va_mapping": "update_va_mapping, set and clear",
              "pin_leaf_table": "an L1 table pinned and unpinned", "pin_tree": "a process's tables pinned and unpinned"}


def best_stretch(*counts):
    """The highest rate, in operations a second, over STRETCH windows; of two vCPUs, where both advanced in each."""
    best = 0
    if not counts:
        return 0
    for at in range(len(counts[0]) - STRETCH + 1):
        pieces = [c[at:at + STRETCH] for c in counts]
        if len(counts) == 1 or all(min(piece) for piece in pieces):
            best = max(best, sum(map(sum, pieces)))
    return best / (STRETCH * WINDOW)


class Turn:
    """One turn of a row: the windows of each vCPU alone, and of both at once."""

    def __init__(self):
        self.phases = {"alone": {}, "both": {}}

    def alone(self):
        """What one CPU does in a phase: the mean of both vCPUs', each alone."""
        return sum(map(sum, self.phases["alone"].values())) / 2

    def ratio(self):
        """None where one of the vCPUs stood still for a while."""
        both = self.phases["both"].values()
        return sum(map(sum, both)) / self.alone() if self.alone() and self.at_once() == 1 else None

    def at_once(self):
        """The part of the windows in which both advanced."""
        pairs = list(zip(*self.phases["both"].values()))
        return sum(min(pair) > 0 for pair in pairs) / len(pairs) if pairs else 0


class Boot:
    """What one boot counted: {(place, operation): [Turn]}."""

    def __init__(self, lines):
        self.turns = collections.defaultdict(list)
        for line in lines:
            if match := re.match(r"SMP (\w+) (\w+) (\d+) (\w+) (\d) ([\d ]+)$", line):
                place, operation, turn, phase, vcpu, counts = match.groups()
                turns = self.turns[(place, operation)]
                turns += [Turn() for _ in range(int(turn) + 1 - len(turns))]
                turns[int(turn)].phases[phase][vcpu] = list(map(int, counts.split()))

    def alone(self, row):
        """The rate of one CPU: the mean of both vCPUs', each alone."""
        return sum(max(best_stretch(turn.phases["alone"].get(who, [])) for turn in self.turns[row]) for who in "01") / 2

    def both(self, row):
        return max(best_stretch(*turn.phases["both"].values()) for turn in self.turns[row])

    def ratios(self, row):
        return [ratio for turn in self.turns[row] if (ratio := turn.ratio()) is not None]

    def at_once(self, row):
        return statistics.mean(turn.at_once() for turn in self.turns[row])


def choose(pattern):
    """The rows (place, operation) whose name, such as one_domain.grant_copy, matches. Raises LookupError: none does."""
    rows = [(place, operation) for place in PLACES for operation in OPERATIONS]
    try:
        chosen = [row for row in rows if re.search(pattern or "", ".".join(row))]
    except re.error as e:
        raise LookupError(f"--row {pattern}: {e}") from None
    if not chosen:
        raise LookupError(f"--row {pattern} matches no row; there are\n" + "\n".join(f"  {'.'.join(row)}" for row in rows))
    return chosen


def boot(hypervisor, images, rows):
    """One boot's Boot, and the last lines of its console if it did not come to its end."""
    tests = [f"smp_{place}" for place in PLACES if any(row[0] == place for row in rows)]
    argv = QEMU + ["-kernel", str(hypervisor), "-append", BOOT_LINE, "-initrd",
                   f"{images / 'bench-pv64'} tests={'+'.join(tests)}"]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    timer = threading.Timer(SECONDS, process.kill)
    timer.start()
    try:
        lines = process.stdout.read().decode("utf8", "replace").replace("\r", "").split("\n")
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    trouble = [line for line in lines if " FAIL " in line]
    if not any(line.startswith("TESTS DONE") for line in lines):
        trouble += lines[-10:]
    return Boot(lines), trouble


class Measured:
    """What all boots of one hypervisor came to."""

    def __init__(self):
        self.boots, self.trouble = [], []

    def rate(self, row, how):
        return max((getattr(boot, how)(row) for boot in self.boots if boot.turns[row]), default=0)

    def ratio(self, row):
        """Of two CPUs' rate to one's: the median of all turns, whose phases lie within a tenth of a second."""
        return statistics.median([ratio for boot in self.boots for ratio in boot.ratios(row)] or [0])

    def middle(self, row):
        """The least and the greatest of the boots' own ratios, without a quarter at each end."""
        ratios = sorted(statistics.median(boot.ratios(row)) for boot in self.boots if boot.ratios(row)) or [0]
        quarter = len(ratios) // 4
        return ratios[quarter], ratios[-1 - quarter]

    def at_once(self, row):
        return max((boot.at_once(row) for boot in self.boots if boot.turns[row]), default=0)


def measure(hypervisors, images, rows, rounds, out):
    """{hypervisor: Measured}; in each round each boots once, one after the other."""
    measured = {name: Measured() for name in hypervisors}
    for number in range(rounds):
        for name, image in hypervisors.items():
            out(f"round {number + 1} of {rounds}: {name}")
            counted, trouble = boot(image, images, rows)
            measured[name].boots.append(counted)
            measured[name].trouble += trouble
    return measured


def objections(measured, row):
    """Why a row's figures are not to be believed."""
    for name, m in measured.items():
        low, high = m.middle(row)
        if high - low > STEADY * m.ratio(row):
            yield f"{name}: the ratio of {' '.join(row)} was between {low:.2f} and {high:.2f} in half of the boots"
        if m.at_once(row) < AT_ONCE:
            yield f"{name}: in {' '.join(row)} both vCPUs advanced in only {m.at_once(row):.0%} of the windows"


def table(measured, rows, out):
    """Prints it; gives one dict a row."""
    out(f"{'operations a second, in thousands':52}" + "".join(f"{n:>10} {'two':>8} {'ratio':>6} " for n in measured))
    results = []
    for row in rows:
        result = {"place": row[0], "row": row[1]}
        line = f"{PLACES[row[0]] + ': ' + OPERATIONS[row[1]]:52}"
        for name, m in measured.items():
            one, two, ratio = m.rate(row, "alone"), m.rate(row, "both"), m.ratio(row)
            line += f"{one / 1000:>10,.1f} {two / 1000:>8,.1f} {ratio:>6.2f} "
            result[name] = {"one": round(one), "two": round(two), "ratio": round(ratio, 3),
                            "at_once": round(m.at_once(row), 3), "middle": [round(r, 3) for r in m.middle(row)]}
        if len(measured) == 2:
            ours, theirs = (measured[n].ratio(row) for n in ("xenolith", "stock"))
            result["scales"] = ours >= theirs * (1 - WORSE)
            line += "" if result["scales"] else "  worse"
        out(line)
        results.append(result)
    return results


def cpu_seconds(stat):
    """What the first line of /proc/stat says all CPUs have worked for, a virtual machine's host on their time included."""
    user, nice, system, _idle, _wait, irq, softirq, steal, *_ = map(int, stat.split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def cpus_in_use(seconds=2):
    """How many CPUs have something to do, at this moment. (A load average would remember what went before.)"""
    stat = pathlib.Path("/proc/stat")
    before = cpu_seconds(stat.read_text())
    time.sleep(seconds)
    return (cpu_seconds(stat.read_text()) - before) / seconds


def run_bench(hypervisors, images, rows, rounds, json_file, out):
    """The exit status: 0, 1 if a ratio is worse than stock's or a boot failed, TOO_LOADED."""
    used, cpus = cpus_in_use(), os.cpu_count() or 1
    reasons = [f"there was other work before the run: {used:.1f} CPUs were in use"] if used > BUSY else []
    reasons += ["the machine has one CPU: two vCPUs cannot run at once"] if cpus < 2 else []
    measured = measure(hypervisors, images, rows, rounds, out)
    results = table(measured, rows, out)
    trouble = [f"{name}| {line}" for name, m in measured.items() for line in m.trouble]
    for row in rows:
        reasons += objections(measured, row)
    for line in trouble + reasons:
        out(line)
    if json_file:
        write_json(json_file, results)
    if trouble:
        return 1
    if reasons:
        out("TOO LOADED: these figures say little; run it again on an idle machine")
        return TOO_LOADED
    return 0 if all(r.get("scales", True) for r in results) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--xenolith", help="Xenolith's image")
    parser.add_argument("--stock", help="stock Xen 4.17, unpacked")
    parser.add_argument("--rounds", type=int, default=5, help="boots of each (5)")
    parser.add_argument("--row", metavar="RE", help="rows whose name matches, such as two_domains or one_domain.grant_copy")
    parser.add_argument("--json", metavar="FILE", help="write a list with an object a row")
    parser.add_argument("--images", help="folder of the built benchmark guest")
    args = parser.parse_args()
    hypervisors = {n: i for n, i in (("xenolith", args.xenolith), ("stock", args.stock)) if i}
    if not hypervisors:
        parser.error("--xenolith IMAGE and --stock IMAGE are needed, or one of them")
    try:
        rows = choose(args.row)
    except LookupError as e:
        print(f"bench: {e.args[0]}", file=sys.stderr)
        return 2
    return run_bench(hypervisors, run.find_images(args.images), rows, args.rounds, args.json,
                     lambda line: print(line, flush=True))


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Boots the tiny guests as Domain 0 of stock Xen and of Xenolith and compares what they report.

A test passes when it passes on both. One that stock Xen fails is wrong, unless its source carries a
reason: `skip=` (the emulator's defect, run on neither) or `differs=` (a difference on purpose, only
Xenolith must pass). Tests that cannot disturb each other share a boot; when a boot dies, the test
that was running has failed and the rest go on in the next boot.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import selectors
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import bzimage  # noqa: E402

ROOT = HERE.parent.parent
QEMU = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-accel", "tcg", "-machine", "q35",
        "-no-reboot", "-serial", "stdio"]
CPU = "max,-smap,-rdtscp"  # 7.2 breaks PV with SMAP; RDTSCP as for the systems
BOOT_LINE = "console=com1 com1=115200,8n1 dom0_mem=128M guest_loglvl=all spec-ctrl=eager-fpu"
# With the `nodes` option: 384 MiB at node 0 with CPU 0, as much at node 1 with CPU 1. (Stock keeps the lower 256 MiB, the
# largest power of two within node 0, for DMA: it gives them last, even before another node's.)
NODES = ["-m", "768", "-object", "memory-backend-ram,id=m0,size=384M", "-object", "memory-backend-ram,id=m1,size=384M",
         "-numa", "node,nodeid=0,cpus=0,memdev=m0", "-numa", "node,nodeid=1,cpus=1,memdev=m1",
         "-numa", "dist,src=0,dst=1,val=25"]
BOOT_SECONDS = 60   # from QEMU's start to the first test
TEST_SECONDS = 30   # for one test
MANY_FAILURES = 8    # of a group: that many boots anew, that many second questions to the oracle
TAIL_LINES = 15     # of the console, shown for a boot that failed
# What must stand on the console for an option of --cmdline to count as tested. Here and below, each
# hypervisor says it in its own words.
SHOWS = {"xpti=true": r"page-table isolation: Domain 0 on, other domains on|XPTI .*Dom0 enabled, DomU enabled"}
CRASHED = r"(?i)dom(ain )?\s?0 (crashed|has shut down \(crash\))"


class Test:
    """One line of the image's .testmeta section."""

    def __init__(self, index, line):
        self.index = index
        self.name, self.covers, options = line.split("\t")
        self.options = dict((o.split("=", 1) + [""])[:2] for o in options.split(";") if o)

    def has(self, option):
        return option in self.options

    def group(self):
        """Tests with equal keys may share a boot."""
        alone = "" if self.may_share() else self.name
        o = self.options
        return (o.get("image", ""), o.get("cpus", "1"), o.get("vcpus", "1"), o.get("args", ""),
                o.get("cpu", CPU), o.get("packed", ""), self.has("module"), self.has("nodes"), alone)

    def may_share(self):
        return not (self.has("own-boot") or self.ending())

    def may_fail(self):
        """On stock Xen, from which we differ on purpose, or here, as it is not built yet."""
        return any(self.has(o) for o in ("differs", "differs-isolated", "missing"))

    def ending(self):
        """What the console must show when the test ends its domain, or None."""
        return self.options.get("ends") or (CRASHED if self.has("crash") else None)


class Outcome:
    """What one test came to on one hypervisor."""

    def __init__(self, verdict, detail="", seconds=0.0, tail=()):
        self.verdict, self.detail, self.seconds, self.tail = verdict, detail, seconds, list(tail)


def read_section(path, wanted):
    """The bytes of one section of an ELF64 file."""
    data = pathlib.Path(path).read_bytes()
    offset, = struct.unpack_from("<Q", data, 40)
    size, count, names_index = struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQ", data, offset + i * size) for i in range(count)]
    names = headers[names_index][4]
    for name, _, _, _, start, length in headers:
        end = data.index(b"\0", names + name)
        if data[names + name:end].decode() == wanted:
            return data[start:start + length]
    raise SystemExit(f"{path} has no section {wanted}: not a test image")


def load_tests(images):
    text = read_section(images / "guest-pv64", ".testmeta").replace(b"\0", b"").decode()
    lines = [line for line in text.split("\n") if line]
    return [Test(i, line) for i, line in enumerate(lines)]


def build_images(source, place):
    """Builds the images of `source` into `place` where that is out of date; gives `place`."""
    steps = [["cmake", "--build", place]]
    if not (place / "build.ninja").exists():
        launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
        steps.insert(0, ["cmake", "-S", source, "-B", place, "-G", "Ninja", *launcher])
    for argv in steps:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise SystemExit(f"building {source.relative_to(ROOT)} failed:\n{done.stdout[-4000:]}")
    return place


def find_images(explicit=None):
    return pathlib.Path(explicit) if explicit else build_images(HERE, ROOT / "build/guest")


def write_module(directory):
    """The boot module of tests with the `module` option: 5,000 bytes of a known pattern."""
    path = pathlib.Path(directory) / "module"
    if not path.exists():
        path.write_bytes(bytes((i * 7 + 3) & 0xff for i in range(5000)))
    return path


def packed_image(directory, image, packer):
    """The image in a bzImage, packed, in a folder of this machine's own."""
    path = pathlib.Path(tempfile.mkdtemp(dir=directory)) / "bzimage"
    path.write_bytes(bzimage.make(image.read_bytes(), packer))
    return path


class Machine:
    """One QEMU with one hypervisor and the test image as its Domain 0."""

    def __init__(self, hypervisor, tests, images, scratch, cmdline=""):
        first = tests[0]
        vcpus = first.options.get("vcpus", "1")
        linux = first.options.get("image") == "linux"
        image = images / ("guest-pv64-linux" if linux else "guest-pv64")
        if first.has("packed"):
            image = packed_image(scratch, image, first.options["packed"])
        if len(tests) == 1:
            selection = f"tests={first.name}"
        else:
            selection = f"mask={sum(1 << t.index for t in tests):x}"
        initrd = f"{image} {selection}"
        if first.has("module"):
            initrd += f",{write_module(scratch)}"
        cpus = first.options.get("cpus", "1")
        line = BOOT_LINE + (f" dom0_max_vcpus={vcpus}" if vcpus != cpus else "")
        line = " ".join(f"{line} {first.options.get('args', '')} {cmdline}".split())
        self.argv = QEMU + ["-m", "512", "-smp", cpus, "-cpu", first.options.get("cpu", CPU),
                            "-kernel", str(hypervisor), "-append", line, "-initrd", initrd]
        self.argv += NODES if first.has("nodes") else []
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.pending = b""
        self.lines = []

    def line(self, seconds):
        """The next line of the console; None at its end or when the time is over."""
        end = time.monotonic() + seconds
        while b"\n" not in self.pending:
            left = end - time.monotonic()
            if left <= 0 or not self.selector.select(left):
                self.lines.append(f"[no line within {seconds} s]")
                return None
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                if self.pending:
                    self.lines.append(self.pending.decode("utf8", "replace"))
                self.lines.append("[the machine ended]")
                return None
            self.pending += data
        line, self.pending = self.pending.split(b"\n", 1)
        self.lines.append(line.decode("utf8", "replace").rstrip("\r"))
        return self.lines[-1]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def wait_for_ending(machine, test):
    """The rest of a test that ends its domain: 'PASS' or the reason why not."""
    while (line := machine.line(TEST_SECONDS)) is not None:
        if re.search(test.ending(), line):
            return Outcome("PASS")
        if re.match(rf"TEST {test.name}: ", line):
            return Outcome("FAIL", "survived: " + line.split(": ", 1)[1])
    return Outcome("FAIL", f"the console did not show {test.ending()!r}",
                   tail=machine.lines[-TAIL_LINES:])


def boot_once(hypervisor, tests, images, scratch, cmdline, spoils=True):
    """Boots, and returns {name: Outcome} up to the end of the run or the death of the machine, or, if
    that `spoils` the boot, up to the first failure that was not expected."""
    outcomes = {}
    running, since, wait = None, time.monotonic(), BOOT_SECONDS
    by_name = {t.name: t for t in tests}
    machine = Machine(hypervisor, tests, images, scratch, cmdline)
    unseen = [shown for option, shown in SHOWS.items() if option in cmdline.split()]
    try:
        while (line := machine.line(wait)) is not None:
            unseen = [shown for shown in unseen if not re.search(shown, line)]
            if unseen and line.startswith("TEST "):
                reason = f"the console does not show {unseen[0]!r}"
                return {t.name: Outcome("FAIL", reason, tail=machine.lines[-TAIL_LINES:]) for t in tests}
            if line.startswith("TESTS DONE"):
                return outcomes
            if line.startswith("ENDING") and running and by_name[running].ending():
                outcomes[running] = wait_for_ending(machine, by_name[running])
                outcomes[running].seconds = time.monotonic() - since
                return outcomes
            match = re.match(r"TEST (\w+): (START|PASS|FAIL)\s?(.*)", line)
            if not match or match[1] not in by_name:
                continue
            wait = TEST_SECONDS
            if match[2] == "START":
                running, since = match[1], time.monotonic()
            else:
                outcomes[match[1]] = Outcome(match[2], match[3], time.monotonic() - since)
                running = None
                if match[2] == "FAIL" and not by_name[match[1]].may_fail() and spoils:
                    return outcomes  # it may have left anything behind: the others get a new boot
        waiting = [t.name for t in tests if t.name not in outcomes]
        if waiting:  # nobody running: the boot itself failed, and with it the first of them
            reason = "the machine died in it" if running else "the boot did not reach the tests"
            outcomes[running or waiting[0]] = Outcome("FAIL", reason, time.monotonic() - since,
                                                      machine.lines[-TAIL_LINES:])
            if not running and not any(re.match("TEST ", l) for l in machine.lines):
                for name in waiting[1:]:
                    outcomes[name] = Outcome("FAIL", reason)
        return outcomes
    finally:
        machine.close()


def boot_group(hypervisor, tests, images, scratch, cmdline, is_oracle):
    """Every test's Outcome. What the oracle fails is asked of it once more, alone: stock Xen's own
    timers are late or early now and then on a busy host, and what counts is whether it can pass."""
    outcomes, boots = {}, 0
    while left := [t for t in tests if t.name not in outcomes]:
        boots += 1
        outcomes.update(boot_once(hypervisor, left, images, scratch, cmdline, spoils=boots <= MANY_FAILURES))
    failed = [t for t in tests if outcomes[t.name].verdict == "FAIL" and not t.may_fail()]
    if is_oracle and len(failed) <= MANY_FAILURES:
        for test in failed:
            again = boot_once(hypervisor, [test], images, scratch, cmdline).get(test.name)
            if again and again.verdict == "PASS":
                again.detail = f"stock passed when asked again; at first: {outcomes[test.name].detail}"
                outcomes[test.name] = again
    return outcomes


def judge(test, results, isolated=False):
    """('pass' | 'FAIL' | 'skip', reason) from the outcomes by hypervisor, with page-table isolation or not."""
    if test.has("skip"):
        return "skip", test.options["skip"]
    xenolith, stock = results.get("xenolith"), results.get("stock")
    if test.has("missing"):  # what is not built yet: stock shows that the test is right
        if stock is not None and stock.verdict != "PASS":
            return "FAIL", "stock fails"
        if xenolith is not None and xenolith.verdict == "PASS":
            return "FAIL", "it passes: take missing= away"
        return "skip", "missing: " + test.options["missing"]
    differs = test.options.get("differs") or (isolated and test.options.get("differs-isolated"))
    if differs:
        if xenolith is None:
            return "skip", "only on Xenolith: " + differs
        return ("pass" if xenolith.verdict == "PASS" else "FAIL"), differs
    bad = [name for name, outcome in results.items() if outcome.verdict != "PASS"]
    reason = "; ".join(f"{name}: {results[name].detail}" for name in bad)
    if stock and stock.verdict != "PASS":
        reason = "the test is wrong, stock Xen fails it: " + reason
    return ("FAIL" if bad else "pass"), reason


def run(xenolith, stock, images=None, only=None, pattern=None, jobs=2, quick=False, cmdline="", label="",
        out=print):
    """Runs the tests whose name matches `pattern` on both images, or on the one that `only` names.

    `quick` leaves out what needs a boot of its own, `cmdline` is added to the boot line, `label` (else its first option)
    to the names. Returns the numbers (passed, failed, skipped); one line a test goes to `out`."""
    images = find_images(images)
    tests = [t for t in load_tests(images) if not pattern or re.search(pattern, t.name)]
    if quick:
        tests = [t for t in tests if t.may_share()]
    hypervisors = {n: p for n, p in (("stock", stock), ("xenolith", xenolith))
                   if only in (None, n) and p}
    groups = {}
    for test in tests:
        if not test.has("skip"):
            groups.setdefault(test.group(), []).append(test)
    results = {t.name: {} for t in tests}
    missing = {t.name: len(hypervisors) if not t.has("skip") else 0 for t in tests}
    counts = {"pass": 0, "FAIL": 0, "skip": 0}
    lock = threading.Lock()

    def show(test):
        verdict, reason = judge(test, results[test.name], "xpti=true" in cmdline.split())
        counts[verdict] += 1
        outcomes = results[test.name]
        each = "  ".join(f"{n} {outcomes[n].verdict} {outcomes[n].seconds:5.2f} s"
                         for n in hypervisors if n in outcomes)
        notes = {o.detail for o in outcomes.values() if o.verdict == "PASS" and o.detail}
        comment = reason or "; ".join(sorted(notes))
        run_label = label or next(iter(cmdline.split()), "")
        name = test.name + (f" [{run_label}]" if run_label else "")
        out(f"{verdict}  guest {name:36} {each}" + (f"  -- {comment}" if comment else ""))
        for name, outcome in outcomes.items():
            for line in outcome.tail:
                out(f"      {name}| {line}")

    def work(name, group):
        outcomes = boot_group(hypervisors[name], group, images, scratch, cmdline, name == "stock")
        with lock:
            for test in group:
                results[test.name][name] = outcomes[test.name]
                missing[test.name] -= 1
                if not missing[test.name]:
                    show(test)

    for test in tests:
        if test.has("skip"):
            show(test)
    with tempfile.TemporaryDirectory() as scratch, \
            concurrent.futures.ThreadPoolExecutor(max_workers=jobs) as pool:
        # The big shared boots first, so that the last worker is not left with the longest one.
        ordered = sorted(groups.values(), key=len, reverse=True)
        for job in [pool.submit(work, n, g) for g in ordered for n in hypervisors]:
            job.result()
    return counts["pass"], counts["FAIL"], counts["skip"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--xenolith", help="Xenolith's image")
    parser.add_argument("--stock", help="stock Xen 4.17, unpacked")
    parser.add_argument("--only", choices=["stock", "xenolith"])
    parser.add_argument("--filter", metavar="RE", help="names to run")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="only tests that share a boot")
    how.add_argument("--long", action="store_true", help="everything, as without it")
    parser.add_argument("--cmdline", default="", metavar="OPTIONS", help="added to the boot line")
    parser.add_argument("--label", default="", help="said behind each name, to tell runs apart")
    parser.add_argument("--list", action="store_true", help="names and what each covers")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--images", help="folder of the built test images")
    args = parser.parse_args()
    if args.list:
        for test in load_tests(find_images(args.images)):
            if not args.filter or re.search(args.filter, test.name):
                print(f"{test.name:34} {test.covers}")
        return 0
    for name in ("stock", "xenolith"):
        if args.only in (None, name) and not getattr(args, name):
            parser.error(f"--{name} IMAGE is needed (or --only the other one)")
    passed, failed, skipped = run(args.xenolith, args.stock, args.images, args.only, args.filter,
                                  args.jobs, args.quick, args.cmdline, args.label,
                                  lambda line: print(line, flush=True))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

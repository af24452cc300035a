"""Checks that run in Domain 0, many in one boot, and how they are reported.

A check is a function that takes a Host (the running machine) and raises Failed, or nothing. It
brings about itself what it needs (Host.need_guest), so that after a hang the machine can be
booted again and the next check goes on.
"""

import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from xenolith.errors import Failure  # noqa: E402
from xenolith.qemu import Machine  # noqa: E402
from xenolith.session import BOOT_SECONDS, Session, Timeout  # noqa: E402

LOGS = ROOT / "build/test-logs"
BOOTS_PER_SUITE = 4  # one, and three after a check that hung
AGAIN_AT_MOST = 3  # checks of a suite that are tried a second time


class Failed(Exception):
    """A check's verdict, with what was expected and what was there."""


def expect(condition, message: str) -> None:
    if not condition:
        raise Failed(message)


class Hypervisor:
    """An image under test. `is_xenolith` for the few things that differ on purpose."""

    def __init__(self, name: str, image: Path):
        self.name, self.image = name, image
        self.is_xenolith = name == "xenolith"

    def machine(self, **options) -> Machine:
        return Machine(self.image, not self.is_xenolith, **options)


class Host:
    """The running machine as checks see it: commands in Domain 0 and in guests."""

    def __init__(self, hypervisor: Hypervisor, session: Session):
        self.hypervisor, self.session = hypervisor, session

    def status(self, script: str, seconds: float = 120) -> tuple[int, str]:
        return self.session.run(script, seconds)

    def run(self, script: str, seconds: float = 120) -> str:
        """Runs it and gives its output; a status other than 0 fails the check."""
        status, text = self.session.run(script, seconds)
        expect(status == 0, f"`{script[:200]}` ended with {status}: {text.strip()[-1500:]}")
        return text

    def guest(self, name: str, script: str, seconds: float = 120) -> str:
        """The same inside a guest, over its console."""
        quoted = script.replace("'", "'\\''")
        return self.run(f"TIMEOUT={int(seconds)} guest {name} '{quoted}'", seconds + 30)

    def start(self, config: str, seconds: float = 240) -> None:
        """Creates a guest and waits until it says that it is up."""
        name = re.search(r'name\s*=\s*"(.*?)"', self.run(f"cat {config}"))[1]
        self.run(f"xl create {config} && wait-guest {name} {int(seconds)}", seconds + 60)

    def need_guest(self, name: str) -> None:
        """A guest of /etc/xen that runs; started if it does not."""
        if self.status(f"xl domid {name}")[0]:
            self.start(f"/etc/xen/{name}.cfg")

    def ip(self, name: str) -> str:
        self.need_guest(name)
        return self.run(f"xenstore-read /local/domain/$(xl domid {name})/data/ip").strip()

    def state(self, name: str) -> dict[str, str]:
        """A row of `xl list`."""
        for line in self.run("xl list").splitlines()[1:]:
            row = line.split()
            if row[0] == name:
                return dict(zip(("name", "id", "mem", "vcpus", "state", "time"), row))
        raise Failed(f"`xl list` does not show {name}")

    def write(self, path: str, text: str) -> None:
        self.run(f"cat > {path} <<'END-OF-FILE'\n{text}\nEND-OF-FILE")

    def until(self, what: str, condition, seconds: float = 60):
        """Asks again and again, until the condition gives something true."""
        end = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            expect(time.monotonic() < end, f"after {seconds:.0f} s still not: {what}")
            time.sleep(0.5)


class Suite:
    """Checks that share a boot; `options` are the machine's.

    Several machines run beside each other, so the CPUs of one take turns in one thread: were they
    threads, each would often wait for another that the host is not running just then (a flush of
    all TLBs), and all of it takes twice as long. A suite that is about CPUs working at the same
    time says one_thread=False.
    """

    def __init__(self, name: str, **options):
        self.name, self.checks = name, []
        self.kernel_args = options.pop("kernel_args", "")
        self.prepare = options.pop("prepare", None)  # gets a folder and the Hypervisor, gives more options
        self.boot_seconds = options.pop("boot_seconds", BOOT_SECONDS)
        self.options = {"one_thread": True, **options}

    def check(self, function):
        """Decorator: the function's name is the check's."""
        self.checks.append(function)
        return function

    def run(self, hypervisor: Hypervisor, report: "Report", wanted=lambda name: True) -> None:
        """Boots and runs the wanted checks; boots again when the machine hangs or dies, and once more
        for those that failed: limits of time are libxl's as well, and a host may be busy. A check
        that fails twice has failed; one that fails once is told and counted by itself."""
        left, failed, boots = [c for c in self.checks if wanted(f"{self.name}.{c.__name__}")], [], 0
        while left and boots < BOOTS_PER_SUITE:
            boots += 1
            left = left[_one_boot(self, hypervisor, report, left, boots, failed):]
        for c in left:
            report.result(_name(self, hypervisor, c), 0, "not run: the machine hung or died too often before")
        if failed and len(failed) <= AGAIN_AT_MOST:
            while failed:
                boots += 1
                failed = failed[_one_boot(self, hypervisor, report, failed, boots, None):]
        for c in failed:
            report.result(_name(self, hypervisor, c), 0, "failed, and was not run again: too many did")


class Boots:
    """A suite in which each check is a boot of its own: `checks(hypervisor)` gives names, and functions that raise Failed."""

    def __init__(self, name: str, checks):
        self.name, self.checks = name, checks

    def run(self, hypervisor: Hypervisor, report: "Report", wanted=lambda name: True) -> None:
        for name, check in self.checks(hypervisor):
            if wanted(f"{self.name}.{name}"):
                start, problem = time.monotonic(), ""
                try:
                    check()
                except Failed as e:
                    problem = str(e)
                report.result(f"{hypervisor.name} {self.name}.{name}", time.monotonic() - start, problem)


def more_initrd(folder: Path, extra) -> Path:
    """Domain 0's initramfs with a second archive (cpio.Archive) behind it, in that folder."""
    from xenolith import paths

    base = paths.DOM0_INITRD.read_bytes()
    (folder / "dom0.cpio.gz").write_bytes(base + bytes(-len(base) % 4) + extra.bytes())
    return folder / "dom0.cpio.gz"


class Report:
    """One line a test, and the numbers."""

    def __init__(self, out=print):
        self.out, self.passed, self.failed, self.again = out, 0, 0, 0
        self._lock = threading.Lock()

    def result(self, name: str, seconds: float, problem: str = "", final: bool = True) -> None:
        """A check's verdict; one that is not `final` is tried again."""
        lines = [f"{'pass' if not problem else 'FAIL' if final else 'AGAIN'}  system {name}  {seconds:.1f} s"]
        lines += [f"      {line}" for line in problem.splitlines()]
        with self._lock:
            self.out("\n".join(lines))
            if not problem:
                self.passed += 1
            elif final:
                self.failed += 1
            else:
                self.again += 1


def _name(suite: Suite, hypervisor: Hypervisor, check) -> str:
    return f"{hypervisor.name} {suite.name}.{check.__name__}"


def _one_boot(suite: Suite, hypervisor: Hypervisor, report: Report, checks: list, number: int, again: list | None) -> int:
    """Gives how many of the checks have been run. Those that fail go to `again`; None: a failure is final."""
    log = LOGS / f"{hypervisor.name}-{suite.name}-{number}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="xenolith-test-") as scratch:
        more = suite.prepare(Path(scratch), hypervisor) if suite.prepare else {}
        machine = hypervisor.machine(kernel_args=f"xenolith.control=ttyS1 {suite.kernel_args}",
                                     **suite.options, **more)
        start = time.monotonic()
        with Session(machine, log) as session:
            try:
                session.boot(seconds=suite.boot_seconds)
            except Failure as e:
                _verdict(suite, hypervisor, report, checks[0], time.monotonic() - start, e.line(), again)
                return 1
            report.out(f"      booted {hypervisor.name} for {suite.name} in {time.monotonic() - start:.0f} s")
            host = Host(hypervisor, session)
            for n, check in enumerate(checks, 1):
                if not _one_check(suite, host, report, check, again):
                    return n
    return len(checks)


def _verdict(suite: Suite, hypervisor: Hypervisor, report: Report, check, seconds: float, problem: str, again: list | None) -> None:
    if problem and again is not None:
        again.append(check)
    report.result(_name(suite, hypervisor, check), seconds, problem, final=again is None)


def _one_check(suite: Suite, host: Host, report: Report, check, again: list | None) -> bool:
    """Runs a check; False if the machine can no longer be used."""
    start, problem, usable = time.monotonic(), "", True
    try:
        check(host)
    except Failed as e:
        problem = str(e) or "failed"
    except Timeout as e:
        problem, usable = f"{e}{host.session.tail()}", False
    except OSError as e:
        problem, usable = f"the machine is gone ({e}){host.session.tail()}", False
    _verdict(suite, host.hypervisor, report, check, time.monotonic() - start, problem, again)
    return usable and host.session.process.poll() is None

#!/usr/bin/env python3
"""Puts deliberate faults into a copy of the hypervisor and asks whether the tests notice.

  tests/guest/faults.py [--filter REGEX] [--jobs N] [--check]

Each fault of faults.toml is applied alone, the image built, and the behaviours that the fault names
are run on it: every one of them must fail, and must pass without any fault. --check only looks
whether each fault still fits the source, which takes no time. Closes with 'N passed, N failed'.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COPY = ROOT / "build/faults"


def faults(pattern: str) -> list[dict]:
    listed = tomllib.loads((HERE / "faults.toml").read_text())["fault"]
    return [f for f in listed if re.search(pattern, f"{f['what']} {f['file']} {' '.join(f['fails'])}")]


def misfit(fault: dict, tree: Path) -> str:
    """Why a fault cannot be applied, or ""."""
    source = tree / fault["file"]
    if not source.exists():
        return f"{fault['file']} does not exist"
    count = source.read_text().count(fault["old"])
    return "" if count == 1 else f"{fault['file']} has the text {count} times"


def copy_sources() -> None:
    """What git knows of, as it stands; unchanged files keep their time, so that little is built."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    wanted = {p for p in listed.decode().split("\0") if p and (ROOT / p).is_file()}
    for path in sorted(wanted):
        source, target = ROOT / path, COPY / path
        data = source.read_bytes()
        if source.name == "CMakeLists.txt":  # a fault may leave a parameter unused
            data = data.replace(b"-Werror", b"")
        if not target.exists() or target.read_bytes() != data:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            shutil.copymode(source, target)
    for old in (COPY / "hv").rglob("*.cpp"):  # sources are globbed: what is gone must go here, too
        if str(old.relative_to(COPY)) not in wanted:
            old.unlink()


def build(jobs: int) -> str:
    """Builds the copy's image; what the compiler said if it refused."""
    for argv in (["cmake", "--preset", "release"], ["ninja", "-C", "build/release", f"-j{jobs}"]):
        done = subprocess.run(argv, cwd=COPY, capture_output=True, text=True)
        if done.returncode:
            return (done.stdout + done.stderr)[-2000:]
    return ""


def verdicts(names: list[str]) -> dict[str, bool]:
    """Which of the named behaviours pass on the copy's image."""
    argv = [sys.executable, "-B", HERE / "run.py", "--xenolith", COPY / "build/release/xenolith", "--only", "xenolith",
            "--filter", "^(" + "|".join(names) + ")$"]
    text = subprocess.run(argv, capture_output=True, text=True).stdout
    passed = set(re.findall(r"^pass  guest (\w+)", text, re.M))
    return {n: n in passed for n in names}


def try_fault(fault: dict, jobs: int) -> str:
    """What is wrong with the tests as this fault shows, or ""."""
    problem = misfit(fault, COPY)
    if problem:
        return problem
    source = COPY / fault["file"]
    sound = source.read_text()
    try:
        source.write_text(sound.replace(fault["old"], fault["new"]))
        said = build(jobs)
        if said:
            return f"does not compile:\n{said}"
        passed = [n for n, good in verdicts(fault["fails"]).items() if good]
        return f"not noticed by {', '.join(passed)}" if passed else ""
    finally:
        source.write_text(sound)


def report(what: str, seconds: float, problem: str) -> bool:
    print(f"{'FAIL' if problem else 'pass'}  fault {what}  {seconds:.1f} s", flush=True)
    for line in problem.splitlines():
        print(f"      {line}", flush=True)
    return not problem


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--filter", default="", metavar="REGEX", help="faults whose text, file or behaviours match")
    p.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers at a time")
    p.add_argument("--check", action="store_true", help="only whether each fault fits the source")
    options = p.parse_args()
    chosen = faults(options.filter)
    if not options.check:
        copy_sources()
        said = build(options.jobs)
        if said:
            print(f"FAIL  fault none: the sound copy does not build\n{said}\n0 passed, 1 failed")
            return 1
    good = 0
    total = len(chosen)
    if not options.check:
        start = time.monotonic()
        sound = verdicts(sorted({n for f in chosen for n in f["fails"]}))
        failed = [n for n, fine in sound.items() if not fine]
        total += 1
        good += report("none: all pass", time.monotonic() - start, f"fail without any fault: {', '.join(failed)}" if failed else "")
    for fault in chosen:
        start = time.monotonic()
        problem = misfit(fault, ROOT) if options.check else try_fault(fault, options.jobs)
        good += report(f"{fault['what']} ({fault['file']})", time.monotonic() - start, problem)
    print(f"{good} passed, {total - good} failed")
    return 0 if good == total else 1


if __name__ == "__main__":
    sys.exit(main())

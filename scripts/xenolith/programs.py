"""Programs of the repository that have a command line of their own: the runners of tests and bench."""

import os
import re
import subprocess
import sys
from pathlib import Path

from . import paths
from .errors import Failure


def _argv(program: Path, arguments: list[str]) -> list[str]:
    if not program.exists():
        raise Failure(f"{program.relative_to(paths.ROOT)} is missing", "is this a complete clone?")
    return [sys.executable, "-B", str(program), *arguments]


def _environment() -> dict:
    return {**os.environ, "PYTHONPATH": str(paths.SCRIPTS), "PYTHONUNBUFFERED": "1"}


def run_through(program: Path, arguments: list[str]) -> int:
    """Runs it on our own output; gives its status."""
    return subprocess.run(_argv(program, arguments), env=_environment()).returncode


def run_counting(program: Path, arguments: list[str]) -> dict[str, int]:
    """Runs a test runner, shows what it prints, and reads the counts off its closing line
    `N passed, N failed[, N skipped]`, which is not shown: the command has one of its own."""
    return count(subprocess.Popen(_argv(program, arguments), env=_environment(), stdout=subprocess.PIPE, text=True),
                 str(program.relative_to(paths.ROOT)))


def count(process: subprocess.Popen, name: str) -> dict[str, int]:
    counts = None
    with process:
        for line in process.stdout:
            if re.fullmatch(r"\d+ passed, \d+ failed(, \d+ skipped)?\n?", line):
                counts = {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", line)}
            else:
                print(line, end="", flush=True)
    if counts is None:
        print(f"FAIL  {name} ended without its closing line (status {process.returncode})", flush=True)
        return {"passed": 0, "failed": 1}
    if process.returncode and not counts["failed"]:
        print(f"FAIL  {name} ended with status {process.returncode}", flush=True)
        counts["failed"] += 1
    return counts

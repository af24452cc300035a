"""The lint part of the tests: formatting, clang-tidy, and what must not stand in the tree."""

import collections
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from . import paths

_CPP = ("*.cpp", "*.hpp", "*.h")


def main(options, _image) -> dict[str, int]:
    checks = [("format", _format), ("python", _python)]
    if not options.quick:
        checks.append(("tidy", _tidy))
    counts = {"passed": 0, "failed": 0}
    for name, check in checks:
        start = time.monotonic()
        problems = check()
        for line in problems[:40]:
            print(f"      {line}", flush=True)
        counts["failed" if problems else "passed"] += 1
        print(f"{'FAIL' if problems else 'pass'}  lint {name}  {time.monotonic() - start:.1f} s", flush=True)
    return counts


def _tracked(*patterns: str) -> list[str]:
    p = subprocess.run(["git", "ls-files", "-z", "--", *patterns], cwd=paths.ROOT, capture_output=True, text=True)
    return [f for f in p.stdout.split("\0") if f and (paths.ROOT / f).exists()]


def _format() -> list[str]:
    files = _tracked(*_CPP)
    if not files:
        return []
    p = subprocess.run(["clang-format-14", "--dry-run", "-Werror", *files], cwd=paths.ROOT, capture_output=True, text=True)
    wrong = collections.Counter(l.split(":")[0] for l in p.stderr.splitlines() if "error:" in l)
    return [f"{f}: {n} places; clang-format-14 -i mends them" for f, n in wrong.items()]


def _python() -> list[str]:
    problems = []
    for f in _tracked("*.py"):
        try:
            compile((paths.ROOT / f).read_text(), f, "exec")
        except SyntaxError as e:
            problems.append(f"{f}:{e.lineno}: {e.msg}")
    return problems


def _tidy() -> list[str]:
    """clang-tidy over what the host build compiles: there clang finds its headers."""
    database = paths.BUILD / "host/compile_commands.json"
    if not (paths.ROOT / ".clang-tidy").exists():
        return []
    if not database.exists():
        p = subprocess.run(["cmake", "--preset", "host"], cwd=paths.ROOT, capture_output=True, text=True)
        if p.returncode:
            return p.stderr.splitlines()[-10:] or ["cmake --preset host failed"]
    known = database.read_text()
    files = [f for f in _tracked("hv/*.cpp", "base/*.cpp", "efi/*.cpp") if str(paths.ROOT / f) in known]
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda f: _tidy_one(f, database), files)
    return [line for lines in results for line in lines]


def _tidy_one(file: str, database) -> list[str]:
    p = subprocess.run(["clang-tidy-14", "--quiet", "-p", str(database.parent), file], cwd=paths.ROOT,
                       capture_output=True, text=True)
    return [l.removeprefix(f"{paths.ROOT}/") for l in p.stdout.splitlines() if " error: " in l or " warning: " in l]

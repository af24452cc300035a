#!/usr/bin/env python3
"""The search for inputs that break something: each fuzzer of build/fuzz, by libFuzzer, for some time.

  cmake --preset fuzz && cmake --build --preset fuzz
  tests/fuzz/run.py [--seconds N] [--jobs N] [NAME ...]

What it finds is left in build/fuzz/finds, new inputs that reach new code in build/fuzz/found/NAME;
README.md says what to do with both. A line each, then 'N passed, N failed'.
"""

import argparse
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build/fuzz"


def search(name: str, seconds: int) -> bool:
    found, finds = BUILD / "found" / name, BUILD / "finds"
    found.mkdir(parents=True, exist_ok=True)
    finds.mkdir(exist_ok=True)
    start = time.monotonic()
    p = subprocess.run([BUILD / f"tests/fuzz/{name}_fuzz", f"-max_total_time={seconds}", "-max_len=4096", "-timeout=60",
                        "-rss_limit_mb=4096", f"-artifact_prefix={finds}/{name}-", found, HERE / "corpus" / name],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    last = re.findall(r"^#(\d+).*?cov: (\d+)", p.stdout, re.M)[-1:]
    tried = "".join(f", {n} inputs, {edges} edges" for n, edges in last)
    print(f"{'FAIL' if p.returncode else 'pass'}  fuzz {name}{tried}  {time.monotonic() - start:.1f} s", flush=True)
    if p.returncode:
        print("\n".join(f"      {line}" for line in p.stdout.splitlines()[-40:]), flush=True)
    return p.returncode == 0


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("names", nargs="*", default=sorted(f.name.removesuffix("_fuzz.cpp") for f in HERE.glob("*_fuzz.cpp")))
    p.add_argument("--seconds", type=int, default=60, help="for each (default: %(default)s)")
    p.add_argument("--jobs", type=int, default=2, help="at a time (default: %(default)s)")
    options = p.parse_args()
    with ThreadPoolExecutor(options.jobs) as pool:
        good = list(pool.map(lambda name: search(name, options.seconds), options.names))
    print(f"{sum(good)} passed, {len(good) - sum(good)} failed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

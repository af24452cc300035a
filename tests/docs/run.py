#!/usr/bin/env python3
"""The checks of the documentation: a line each, then 'N passed, N failed'."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import abi_coverage  # noqa: E402
import references  # noqa: E402
import security  # noqa: E402


CHECKS = (abi_coverage, references, security)


def main() -> int:
    failed = 0
    for check in CHECKS:
        start, found = time.monotonic(), check.problems()
        failed += bool(found)
        print(f"{'FAIL' if found else 'pass'}  docs {check.__name__}  {time.monotonic() - start:.1f} s", flush=True)
        for problem in found:
            print(f"      {problem}", flush=True)
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

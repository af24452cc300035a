#!/usr/bin/env python3
"""Debian's kernel and tools on stock Xen and on Xenolith: the same checks on both.

  tests/system/run.py --xenolith IMAGE --stock IMAGE [--quick | --long] [--filter REGEX] [--only NAME]

Prints a line a check and closes with 'N passed, N failed'. Consoles are kept in build/test-logs.
"""

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bad_input  # noqa: E402
import devices  # noqa: E402
import disks  # noqa: E402
import framework  # noqa: E402
import lifecycle  # noqa: E402
import memory  # noqa: E402
import networks  # noqa: E402
import quick  # noqa: E402
import shares  # noqa: E402

# Those about guests share one boot.
FULL = [devices.suite, lifecycle.suite, disks.suite, networks.suite, memory.suite, shares.suite]


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--xenolith", type=Path, help="Xenolith's image")
    p.add_argument("--stock", type=Path, help="stock Xen 4.17, unpacked")
    p.add_argument("--only", choices=["stock", "xenolith"], help="one of the two")
    p.add_argument("--quick", action="store_true", help="one short boot, of Xenolith only")
    p.add_argument("--long", action="store_true", help="the same as the full run: nothing here takes longer yet")
    p.add_argument("--filter", metavar="REGEX", help="checks whose name (SUITE.CHECK) matches")
    options = p.parse_args()
    report = framework.Report(lambda line: print(line, flush=True))

    def wanted(name: str) -> bool:
        return not options.filter or re.search(options.filter, name) is not None

    for name in ("stock", "xenolith"):
        image = getattr(options, name)
        if options.only not in (None, name) or (options.quick and name == "stock" and options.xenolith):
            continue
        if image is None:
            p.error(f"--{name} IMAGE is needed, or --only the other one")
        hypervisor = framework.Hypervisor(name, image)
        for suite in [quick.suite] if options.quick else FULL:
            framework.run_suite(suite, hypervisor, report, wanted)
        if not options.quick:
            bad_input.run(hypervisor, report, wanted)
    print(f"{report.passed} passed, {report.failed} failed", flush=True)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())

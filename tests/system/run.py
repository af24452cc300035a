#!/usr/bin/env python3
"""Debian's kernel and tools on stock Xen and on Xenolith: the same checks on both.

  tests/system/run.py --xenolith IMAGE --stock IMAGE [--quick | --long] [--filter REGEX] [--only NAME]

Prints a line a check and closes with 'N passed, N failed'. Consoles are kept in build/test-logs.
"""

import argparse
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bad_input  # noqa: E402
import deaths  # noqa: E402
import devices  # noqa: E402
import diagnostics  # noqa: E402, F401 (adds to tools)
import disks  # noqa: E402
import efi_binary  # noqa: E402
import events  # noqa: E402
import firmware  # noqa: E402
import framework  # noqa: E402
import hardware  # noqa: E402
import host  # noqa: E402
import host_package  # noqa: E402, F401 (this and the two below add to host, in the story's order)
import host_guests  # noqa: E402, F401
import host_back  # noqa: E402, F401
import hotplug  # noqa: E402
import kernels  # noqa: E402
import lifecycle  # noqa: E402
import load  # noqa: E402
import memory  # noqa: E402
import models  # noqa: E402
import networks  # noqa: E402
import quick  # noqa: E402
import screen  # noqa: E402
import shares  # noqa: E402
import sizes  # noqa: E402
import tools  # noqa: E402

# Longest first, so that two at a time end together.
FULL = [lifecycle.suite, tools.suite, memory.suite, load.short, deaths.suite, networks.suite, disks.suite,
        devices.suite, shares.suite, sizes.small, firmware.uefi, bad_input.suite, screen.suite,
        efi_binary.on_xenolith, efi_binary.mistakes, quick.suite]
LONG = [host.bios, host.uefi, load.long, efi_binary.on_stock, kernels.suite, kernels.packed, hotplug.suite, hardware.suite,
        events.suite, models.suite, sizes.large, firmware.bios]


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--xenolith", type=Path, help="Xenolith's image")
    p.add_argument("--stock", type=Path, help="stock Xen 4.17, unpacked")
    p.add_argument("--only", choices=["stock", "xenolith"], help="one of the two")
    p.add_argument("--quick", action="store_true", help="one short boot, of Xenolith only")
    p.add_argument("--long", action="store_true", help="also what takes long: a soak, other devices, a larger machine")
    p.add_argument("--filter", metavar="REGEX", help="checks whose name (SUITE.CHECK) matches")
    p.add_argument("--jobs", type=int, default=2, help="machines at a time (default: %(default)s)")
    options = p.parse_args()
    report = framework.Report(lambda line: print(line, flush=True))

    def wanted(name: str) -> bool:
        return not options.filter or re.search(options.filter, name) is not None

    hypervisors = []
    for name in ("stock", "xenolith"):
        if options.only in (None, name) and not (options.quick and name == "stock" and options.xenolith):
            if getattr(options, name) is None:
                p.error(f"--{name} IMAGE is needed, or --only the other one")
            hypervisors.append(framework.Hypervisor(name, getattr(options, name)))

    suites = [quick.suite] if options.quick else FULL + (LONG if options.long or options.filter else [])
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = [pool.submit(s.run, h, report, wanted) for s in suites for h in hypervisors]
        for run in runs:
            run.result()
    if report.again:
        print(f"{report.again} checks failed once and were run again on a new boot (AGAIN above says why)", flush=True)
    print(f"{report.passed} passed, {report.failed} failed", flush=True)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())

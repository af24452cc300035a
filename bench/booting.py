"""What a hypervisor's boot takes, and the memory that it keeps: of boots with two sizes of memory."""

import re

from machine import SECOND
from rows import LARGE, SMALL
from table import single

PAGES = (LARGE - SMALL) * 256
# Makes stock Xen print the TSC before each line.
STAMPED = "console_timestamps=raw"
SOON = SECOND // 1000  # after the edge, the next line is printed


def number(lines, pattern):
    for line in lines:
        if match := re.match(pattern, line):
            return int(match[1], 0)
    return None


def memory_kept(pages):
    """{row: KiB or bytes}: what two machine sizes lack, and the line through both.

    `pages` are those that are free or the guest's, by MiB."""
    if None in pages.values():
        return {}
    small, large = (mib * 1024 - pages[mib] * 4 for mib in (SMALL, LARGE))  # KiB
    by_mib = (large - small) / (LARGE - SMALL)
    return {"memory_small": small, "memory_large": large, "memory_per_page": round(by_mib * 1024 / 256, 1),
            "memory_fixed": round(small - by_mib * SMALL)}


def waited(lines):
    """How long a STAMPED boot waited for the edge of the RTC's second: the silence that such an edge ended.

    Whatever comes before that edge makes the wait shorter, and the boot no longer."""
    stamps = [int(m[1], 16) for m in (re.match(r"\(XEN\) \[([0-9a-f]{16})\] ", line) for line in lines) if m]
    for before, after in zip(stamps, stamps[1:]):
        if before // SECOND < after // SECOND and after % SECOND < SOON:
            return after - before
    return 0


def spent(lines, firmware, end):
    """Instructions from the firmware's end to `end` (TSC), less the wait; None where one of them was not told."""
    return None if firmware is None or end is None else end - firmware - waited(lines)


def figures(boots, stamped, firmware):
    """{row: Figure} of {MiB: console}, of the same with STAMPED, and {MiB: TSC at which the firmware was done}."""
    found = memory_kept({mib: number(lines, r"BOOT guest_pages (\d+)") for mib, lines in boots.items()})
    first = number(boots[SMALL], r"BOOT tsc (\d+)")
    if first and firmware[SMALL]:
        found["boot"] = first - firmware[SMALL]
    by_size = [spent(stamped[mib], firmware[mib], number(stamped[mib], r"BOOT tsc (\d+)")) for mib in (LARGE, SMALL)]
    if None not in by_size:
        found["boot_page"] = round((by_size[0] - by_size[1]) / PAGES, 2)
    return {row: single(value) for row, value in found.items()}

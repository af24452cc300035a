"""What a hypervisor's boot takes, and the memory that it keeps: of boots with two sizes of memory."""

import re

from rows import LARGE, SMALL
from table import single


def number(lines, pattern):
    for line in lines:
        if match := re.match(pattern, line):
            return int(match[1], 0)
    return None


def memory_kept(pages):
    """{row: KiB or bytes}: what two machine sizes lack, and the line through both; `pages` are those that are free or the guest's."""
    if None in pages.values():
        return {}
    small, large = (mib * 1024 - pages[mib] * 4 for mib in (SMALL, LARGE))  # KiB
    by_mib = (large - small) / (LARGE - SMALL)
    return {"memory_small": small, "memory_large": large, "memory_per_page": round(by_mib * 1024 / 256, 1),
            "memory_fixed": round(small - by_mib * SMALL)}


def figures(boots, firmware):
    """{row: Figure} of {MiB: console}, and what TSC the firmware was done at with SMALL."""
    found = memory_kept({mib: number(lines, r"BOOT guest_pages (\d+)") for mib, lines in boots.items()})
    first = number(boots[SMALL], r"BOOT tsc (\d+)")
    if first and firmware:
        found["boot"] = first - firmware
    return {row: single(value) for row, value in found.items()}

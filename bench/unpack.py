"""What it takes a hypervisor to unpack Domain 0's kernel: Debian's, as it is (XZ), less the same kernel not packed.

Both boots end where that kernel begins to count its time, and the firmware's share is taken off each.
Of stock Xen's, the wait for the RTC's second is taken off as well: what comes before it, such as the
firmware's loading of a kernel of another size, would show in how long it waits.
"""

import booting
import machine
import progress
from debian_boot import SECONDS, command, parse
from table import single

LINE = "rdinit=/bench/loops -- stamp kernel"  # what follows is the first process's arguments


def started(image, kernel, folder, probe, extra):
    """Instructions to the kernel's start; None if it did not start."""
    argv = command(image, kernel, LINE, folder / "small", extra)
    lines = machine.boot(argv, "STAMP kernel", SECONDS)
    firmware = machine.firmware_done(command(probe, kernel, LINE, folder / "small"), SECONDS)
    _, stamps = parse(lines)
    return booting.spent(lines, firmware, stamps["kernel"][1] if "kernel" in stamps else None)


def measure(name, image, folder, probe, extra):
    if name == "stock":
        extra = f"{extra} {booting.STAMPED}"
    packed, unpacked = (started(image, folder / kernel, folder, probe, extra) for kernel in ("vmlinuz", "vmlinux"))
    progress.say(f"{name} has booted Debian's kernel packed and unpacked")
    return single(None if packed is None or unpacked is None else packed - unpacked)

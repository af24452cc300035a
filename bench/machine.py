"""The machine that both hypervisors boot on, and a boot of it."""

import pathlib
import re
import subprocess
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
QEMU = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", "q35", "-smp", "1",
        "-accel", "tcg,thread=single", "-cpu", "max,-smap,-rdrand,-rdseed", "-no-reboot", "-serial",
        "stdio", "-icount", "shift=0,sleep=off", "-seed", "1", "-net", "none",
        "-rtc", "base=2026-01-01T00:00:00,clock=vm"]
SECOND = 1_000_000_000  # instructions


def boot(argv, last, seconds, each=lambda line: None):
    """The console of one boot, up to the line that begins with `last`; `each` gets every line as it comes."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    lines = []
    try:
        for raw in process.stdout:
            lines.append(raw.decode("utf8", "replace").rstrip())
            each(lines[-1])
            if lines[-1].startswith(last):
                break
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    return lines


def firmware_done(argv, seconds):
    """TSC at the first instruction of an image that the firmware loads: the probe's (probe.S) only line."""
    lines = boot(argv, "", seconds)
    return int(lines[-1], 16) if lines and re.fullmatch("[0-9a-f]{16}", lines[-1]) else None

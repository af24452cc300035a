"""What tests put into Domain 0 beside its own image: the page counter, and tiny guests that misbehave."""

import functools
import threading

import memory
from framework import ROOT, Failed, more_initrd
from memory import comes_back_to, free_pages  # noqa: F401 (for the suites)

GUESTS = ROOT / "tests/system/guests"
_building = threading.Lock()  # both hypervisors' suites may begin at the same time


def page_counter_and_guests(folder, hypervisor) -> dict:
    from xenolith.cpio import Archive

    memory._with_counter(folder, hypervisor)  # builds the counter
    with _building:
        guests = _tiny()
    extra = Archive()
    extra.file("/usr/bin/free-pages", memory.PROGRAM)
    extra.file("/guests-tiny", guests)
    return {"initrd": more_initrd(folder, extra)}


@functools.cache
def _tiny():
    from importlib import util

    spec = util.spec_from_file_location("guest_runner", ROOT / "tests/guest/run.py")
    runner = util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    return runner.build_images(GUESTS, ROOT / "build/system-guests") / "tiny"


def event_channels(host) -> int:
    """How many ports Domain 0 has in use."""
    return len(host.run("lsevtchn 0").splitlines())


def tiny(host, name: str, behaviour: str, memory: int = 20, more: str = "") -> str:
    """The file of a guest that does one of tests/system/guests; gives its path."""
    path = f"/run/{name}.cfg"
    host.write(path, f'name = "{name}"\ntype = "pv"\nkernel = "/guests-tiny"\ncmdline = "tests={behaviour}"\n'
                     f'memory = {memory}\nvcpus = 1\non_crash = "preserve"\n{more}')
    return path


def expect_healthy(host) -> None:
    """Domain 0's kernel has met nothing that it holds for a fault of its own."""
    log = host.run("dmesg")
    for word in ("BUG:", "Oops", "general protection", "stack segment", "soft lockup", "rcu_sched self-detected"):
        if word in log:
            raise Failed(f"Domain 0's kernel says: {log[max(0, log.find(word) - 300) : log.find(word) + 900]}")

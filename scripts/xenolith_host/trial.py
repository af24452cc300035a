"""`xenolith-try`: the next boot, and only that, is Xenolith."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from . import facts, menu, rules

DESCRIPTION = """Makes Xenolith the entry of GRUB's menu for the next boot only. After that the machine boots as before, whether
Xenolith came up or not."""
EPILOG = "Exit status: 0 if it is done, 1 if it cannot be done (nothing is changed then), 2 for a wrong option."
GRUB = Path("/boot/grub")
IMAGE = r"xenolith-.*\.gz"
# What GRUB can read but not write: it could not take the one-time entry back.
_UNWRITABLE = {"diskfilter", "lvm", "btrfs", "zfs", "squash4", "cpiofs", "newc", "odc", "romfs", "tarfs"}


class Refused(Exception):
    """Why it cannot be done, and what to do."""


def program() -> int:
    p = argparse.ArgumentParser(prog="xenolith-try", description=DESCRIPTION, epilog=EPILOG)
    how = p.add_mutually_exclusive_group()
    how.add_argument("--show", action="store_true", help="only name the entry that would be booted")
    how.add_argument("--cancel", action="store_true", help="take it back")
    p.add_argument("--kernel", metavar="VERSION", help="Domain 0's kernel, such as 6.1.0-56-amd64 (default: the newest)")
    p.add_argument("--force", action="store_true", help="although xenolith-check says that it cannot run here")
    options = p.parse_args()
    try:
        return _main(options)
    except Refused as e:
        print(f"xenolith-try: {e}", file=sys.stderr)
        return 1
    except OSError as e:
        print(f"xenolith-try: {e.filename}: {e.strerror}", file=sys.stderr)
        return 1


def _main(options) -> int:
    if os.geteuid() and not options.show:
        raise Refused("only root may change what is booted")
    if options.cancel:  # also when the menu has no such entry any more
        _run(["grub-editenv", str(GRUB / "grubenv"), "unset", "next_entry"])
        print("The next boot is the ordinary one.")
        return 0
    text = _menu_text()
    entry = choose(menu.entries(text), options.kernel)
    if options.show:
        print(entry.name())
        return 0
    may_try(text, _kinds(), rules.findings(facts.read()), options.force)
    _run(["grub-reboot", entry.name()])
    if f"next_entry={entry.name()}" not in _run(["grub-editenv", str(GRUB / "grubenv"), "list"]).splitlines():
        raise Refused(f"{GRUB}/grubenv has not taken the entry: is there room in /boot?")
    print(f"The next boot, and only that, is '{entry.path[-1]}'. Reboot to try it; 'xenolith-try --cancel' takes it back.")
    return 0


def choose(entries: list[menu.Entry], kernel: str | None) -> menu.Entry:
    """Xenolith's entry with that kernel; GRUB's menu has the newest first."""
    ours = [e for e in entries if e.loads(IMAGE) and len(e.files) > 1]
    if not ours:
        raise Refused(f"{GRUB}/grub.cfg has no entry for Xenolith: run update-grub and see what it says about Xen")
    # The entry on the first page has a title that does not say which hypervisor it is; those further in do.
    ours = [e for e in ours if "xenolith-" in e.path[-1]] or ours
    good = [e for e in ours if kernel is None or e.loads(rf"vmlinu[xz]-{re.escape(kernel)}")]
    if not good:
        there = sorted({m[1] for e in ours if (m := e.loads(r"vmlinu[xz]-(.*)"))})
        raise Refused(f"no entry has the kernel {kernel}: there are {', '.join(there)}")
    return good[0]


def may_try(text: str, kinds: set[str], found: list[rules.Finding], force: bool) -> None:
    """Refuses where the trial would not be one, or would be in vain. `kinds`: of file system and devices below /boot/grub."""
    if not menu.one_time_entry_is_heeded(text):
        raise Refused(f"{GRUB}/grub.cfg knows no one-time entry (next_entry); choose Xenolith in the menu by hand")
    if bad := kinds & _UNWRITABLE:
        raise Refused(f"{GRUB} lies on {', '.join(sorted(bad))}, where GRUB cannot write: it would boot Xenolith every time. "
                      "Choose it in the menu by hand")
    obstacles = [x.text for x in found if x.level == rules.OBSTACLE]
    if obstacles and not force:
        raise Refused(f"it would not come up: {'; '.join(obstacles)} (--force tries all the same)")


def _menu_text() -> str:
    try:
        return (GRUB / "grub.cfg").read_text(errors="replace")
    except PermissionError:
        raise Refused(f"only root may read {GRUB}/grub.cfg") from None
    except FileNotFoundError:
        raise Refused(f"there is no {GRUB}/grub.cfg: is GRUB the boot loader of this machine?") from None


def _kinds() -> set[str]:
    return {word for target in ("abstraction", "fs") for word in _run(["grub-probe", f"--target={target}", str(GRUB)]).split()}


def _run(argv: list[str]) -> str:
    try:
        p = subprocess.run(argv, capture_output=True, text=True)
    except FileNotFoundError:
        raise Refused(f"{argv[0]} is missing: install grub2-common") from None
    if p.returncode:
        raise Refused(f"{argv[0]} failed: {p.stderr.strip()}")
    return p.stdout

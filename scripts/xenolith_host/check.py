"""`xenolith-check`, and `./xenolith check`: what Xenolith will and will not do on this machine."""

import argparse
import dataclasses
import json
import sys
import textwrap
from pathlib import Path

from . import facts, rules

DESCRIPTION = """Looks at this machine's CPU, firmware, memory, IOMMU, disks, NICs, kernels and boot loader, and says what Xenolith
will and will not do on it. Nothing is changed. Some of it only root may read."""
EPILOG = """Exit status: 0 if nothing stands in the way, 1 with restrictions, 2 if it cannot run here as things are (and for a
wrong option)."""
_MARKS = {rules.GOOD: "ok", rules.NOTE: "--", rules.RESTRICTION: "!", rules.OBSTACLE: "NO"}


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="the same for programs")
    p.add_argument("--root", metavar="DIR", type=Path, default=Path("/"),
                   help="read /sys, /proc, /boot and /etc below DIR, as of a machine that was copied or made up")


def main(options) -> int:
    if not (options.root / "proc").is_dir():
        print(f"xenolith-check: {options.root} has no folder proc: give a directory that looks like a root", file=sys.stderr)
        return 2
    seen = facts.read(options.root)
    found = rules.findings(seen)
    status = rules.status(found)
    print(_json(seen, found, status) if options.json else _text(found, status))
    return status


def program() -> int:
    """As a command of its own."""
    p = argparse.ArgumentParser(prog="xenolith-check", description=DESCRIPTION, epilog=EPILOG)
    add_arguments(p)
    return main(p.parse_args())


def _text(found: list[rules.Finding], status: int) -> str:
    lines, area = [], ""
    for x in found:
        name, area = ("" if x.area == area else x.area), x.area
        head = f"{name:<10}{_MARKS[x.level]:<4}"
        lines += textwrap.wrap(x.text, 110, initial_indent=head, subsequent_indent=" " * 14, break_on_hyphens=False)
    lines += ["", *textwrap.wrap(f"It will run: {rules.WILL}.", 110), "It will not do on any machine, so far:"]
    lines += [f"  - {text}" for text in rules.WILL_NOT]
    lines += ["", f"{rules.VERDICTS[status]}. {rules.TRIED}"]
    if status == 2:
        lines += ["In the way:"] + [f"  - {x.text}" for x in found if x.level == rules.OBSTACLE]
    return "\n".join(lines)


def _json(seen: facts.Facts, found: list[rules.Finding], status: int) -> str:
    def plain(value):
        return sorted(value) if isinstance(value, set) else str(value)

    return json.dumps({"status": status, "verdict": rules.VERDICTS[status], "findings": [dataclasses.asdict(x) for x in found],
                       "will": rules.WILL, "will_not": rules.WILL_NOT, "tried": rules.TRIED,
                       "facts": dataclasses.asdict(seen)}, indent=1, default=plain)

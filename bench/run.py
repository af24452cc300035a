#!/usr/bin/env python3
"""Counts what the hypervisor's operations cost, on Xenolith and on stock Xen in one run.

The guests boot under QEMU's -icount, where the TSC counts executed instructions: the numbers do not
depend on the machine or its load. A lower ratio is better. README.md says how each row is taken.
"""
import argparse
import pathlib
import sys

import kept
import lines
import parts
import picture
import progress
import tiny
from table import complete, show, write_json
from tiny import BOOT_LINE, find_images  # noqa: F401  smp.py takes them from here


def measure(part, hypervisors, images, rows, args=""):
    """{hypervisor: ({row: Figure}, lines that say what went wrong)}; `args` are added to the part's boot line."""
    extra, booted = f"{part.args} {args}".strip(), [row for row in rows if row.test != "lines"]
    measured = {name: ({}, []) for name in hypervisors}
    if booted and part.name == "debian":
        import debian  # wants Domain 0's image, which the other parts do without

        measured = debian.run(hypervisors, images, booted, extra)
    elif booted:
        measured = tiny.run(hypervisors, images, booted, extra)
    if len(booted) < len(rows) and "xenolith" in measured:
        measured["xenolith"][0]["lines"] = lines.count()
    return measured


def say_part(chosen, number):
    part, rows = chosen[number]
    progress.say(f"{number + 1} of {len(chosen)}, {part.name}: {part.heading}, {len(rows)} rows")


def run(chosen, hypervisors, images, args="", out=print):
    """Measures the rows of each part and prints its table; gives one dict a row."""
    results = []
    for number, (part, rows) in enumerate(chosen):
        say_part(chosen, number)
        measured = measure(part, hypervisors, images, rows, args)
        results += show(part, rows, {name: figures for name, (figures, _) in measured.items()}, out)
        for name, (_, trouble) in measured.items():
            for line in trouble:
                out(f"{name}| {line}")
        out("")
    return results


def write_svg(path, chosen, results):
    """What was measured as a picture; isolation, which looks like the first part, only if that was not."""
    texts = {(part.name, row.name): row.text + (" (stock's is quoted)" if row.quoted is not None else "")
             for part, rows in chosen for row in rows}
    groups = []
    for part, _ in chosen:
        bars = [picture.Bar(texts[part.name, r["row"]], r["ratio"], r["goal"], r["met"])
                for r in results if r["part"] == part.name]
        if part.name != "isolation" or not groups:
            groups.append((part.heading, bars))
    pathlib.Path(path).write_text(picture.draw(groups))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--xenolith", help="Xenolith's image")
    parser.add_argument("--stock", help="stock Xen 4.17, unpacked")
    parser.add_argument("--part", choices=parts.NAMES, action="append", help="only this part; may be repeated")
    parser.add_argument("--row", "--filter", dest="row", metavar="REGEX", help="only rows whose name matches")
    parser.add_argument("--list", action="store_true", help="list the rows and do nothing else")
    parser.add_argument("--json", metavar="FILE", help="write a list with an object a row")
    parser.add_argument("--svg", metavar="FILE", help="draw the ratios")
    parser.add_argument("--args", default="", metavar="OPTIONS", help="added to both boot lines, such as sched=credit")
    parser.add_argument("--images", help="folder of the built benchmark guest")
    parser.add_argument("--check", action="store_true",
                        help="only Xenolith, compared with the figures kept in the tree")
    parser.add_argument("--keep", action="store_true", help="write these figures anew")
    args = parser.parse_args()
    if not args.list and not args.xenolith and (args.check or args.keep or not args.stock):
        parser.error("--xenolith IMAGE and --stock IMAGE are needed, or one of them")
    if args.args and (args.check or args.keep):
        parser.error("figures are kept of the bench's own boot lines: --args cannot be added")
    return args


def main():
    args = arguments()
    try:
        chosen = parts.choose(args.part, args.row, args.args)
    except LookupError as e:
        print(f"bench: {e.args[0]}", file=sys.stderr)
        return 2
    if args.list:
        print(parts.listing([part.name for part, _ in chosen]))
        return 0
    images = tiny.find_images(args.images)
    if args.check or args.keep:
        return 1 if kept.check(chosen, args.xenolith, images, measure, args.keep) else 0
    hypervisors = {n: image for n, image in (("xenolith", args.xenolith), ("stock", args.stock)) if image}
    results = run(chosen, hypervisors, images, args.args, lambda line: print(line, flush=True))
    if args.json:
        write_json(args.json, results)
    if args.svg:
        write_svg(args.svg, chosen, results)
    progress.say(f"done in {progress.seconds():.0f} s")
    return 0 if complete(results, hypervisors) else 1


if __name__ == "__main__":
    sys.exit(main())

"""`./xenolith bench`: hands over to bench/run.py, which owns the rows and their goals, or to bench/smp.py."""

import sys

from . import build, dom0_image, packages, paths, programs
from .errors import usage

sys.path.insert(0, str(paths.ROOT / "bench"))
import parts  # noqa: E402  the rows, to say what is wrong before minutes of building

DESCRIPTION = """Counts the instructions that operations take, on Xenolith and on stock Xen in one run
(QEMU's -icount, so any machine gives the same figures), and prints a table of each part: minimum,
median, ratio to stock's, and goal. The parts are 'paths' (a tiny guest calls the hypervisor; boot,
memory), 'isolation' (the same with page-table isolation forced on both) and 'debian' (programs in a
Debian guest, its disk and NIC, xl create and destroy, boot); without options all of them, in some six
minutes on two idle CPUs. With --smp instead: what two CPUs do at once, by wall time, on both in turn;
that needs a machine with two idle CPUs."""
EPILOG = """Exit status: 0 if every figure could be taken, 1 if one could not, 2 for a wrong option or a --row
that matches nothing."""


def add_arguments(p) -> None:
    p.add_argument("--part", choices=parts.NAMES, action="append", help="only this part; may be repeated")
    p.add_argument("--debian", action="append_const", const="debian", dest="part", help="the same as --part debian")
    p.add_argument("--row", "--filter", dest="row", metavar="REGEX",
                   help="only rows whose name matches, and only what must run for them (of isolation only with --part)")
    p.add_argument("--list", action="store_true", help="list the rows of each part and do nothing else")
    p.add_argument("--json", metavar="FILE", help="write a list with an object a row: part, row, unit, xenolith, stock, ratio, "
                   "goal, limit, met, samples, minimum, median")
    p.add_argument("--svg", metavar="FILE", help="draw the ratios; docs/bench.svg is such a picture")
    p.add_argument("--args", metavar="OPTIONS",
                   help="added to both boot lines, such as sched=credit; then isolation is not run by itself")
    p.add_argument("--smp", action="store_true", help="two CPUs against one, by wall time (about three minutes)")


def main(options) -> int:
    if options.smp:
        return _smp(options)
    try:
        picked = parts.choose(options.part, options.row, options.args)
    except LookupError as e:
        raise usage(e.args[0]) from None
    chosen = [part.name for part, _ in picked]
    if options.list:
        print(parts.listing(chosen))
        return 0
    counts_lines = any(row.test == "lines" for _, rows in picked for row in rows)
    packages.need(packages.BUILD + packages.RUN + (packages.BENCH if counts_lines else []))
    dom0_image.build() if "debian" in chosen else dom0_image.fetch()
    argv = [word for part in chosen for word in ("--part", part)]
    return _run("run", argv + _passed_on(options, "json", "svg", "row", "args"))


def _smp(options) -> int:
    if options.part or options.svg or options.args or options.list:
        raise usage("--smp is a run of its own", "it takes --row and --json only")
    packages.need(packages.BUILD + packages.RUN)
    dom0_image.fetch()
    return _run("smp", _passed_on(options, "json", "row"))


def _passed_on(options, *names: str) -> list[str]:
    return [word for name in names if getattr(options, name) for word in (f"--{name}", getattr(options, name))]


def _run(program: str, argv: list[str]) -> int:
    both = ["--xenolith", str(build.hypervisor()), "--stock", str(paths.STOCK_XEN)]
    return programs.run_through(paths.ROOT / f"bench/{program}.py", both + argv)

"""`./xenolith bench`: hands over to bench/run.py, which owns the rows and their goals, or bench/debian.py."""

from . import build, dom0_image, packages, paths, programs
from .errors import usage

DESCRIPTION = """Counts the instructions that operations take, on Xenolith and on stock Xen in one run
(QEMU's -icount, so any machine gives the same figures), and prints a table of ratios and goals. With --smp instead:
what two CPUs do at once, by wall time, on both in turn; that needs a machine with two idle CPUs."""


def add_arguments(p) -> None:
    p.add_argument("--debian", action="store_true",
                   help="rows that need Debian's kernel instead: programs in a guest, its disk and NIC, xl create "
                   "and destroy (many minutes)")
    p.add_argument("--json", metavar="FILE", help="write one object a row: row, xenolith, stock, ratio, goal")
    p.add_argument("--svg", metavar="FILE", help="draw the ratios; docs/bench.svg is such a picture")
    p.add_argument("--row", "--filter", dest="row", metavar="REGEX", help="only rows whose name matches")
    p.add_argument("--args", metavar="OPTIONS", help="added to both boot lines, such as xpti=true")
    p.add_argument("--smp", action="store_true", help="two CPUs against one, by wall time (about eight minutes)")


def main(options) -> int:
    if options.debian and (options.svg or options.smp):
        raise usage("--debian takes neither --svg nor --smp", "they are runs of their own")
    if options.smp and (options.svg or options.args):
        raise usage("--smp takes neither --svg nor --args")
    packages.need(packages.BUILD + packages.RUN)
    dom0_image.build() if options.debian else dom0_image.fetch()
    image = build.hypervisor()
    argv = ["--xenolith", str(image), "--stock", str(paths.STOCK_XEN)]
    for name in ("json", "svg", "row", "args"):
        if getattr(options, name):
            argv += [f"--{name}", getattr(options, name)]
    program = "smp" if options.smp else "debian" if options.debian else "run"
    return programs.run_through(paths.ROOT / f"bench/{program}.py", argv)

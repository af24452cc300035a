"""`./xenolith run`: a machine with Domain 0 and the guest demo, for a person or for a script."""

import os
import re
import signal
import sys
import tempfile
from pathlib import Path

from . import build, demo_disk, dom0_image, packages, paths, terminal, ui
from .cpio import Archive
from .errors import MACHINE, Failure, usage
from .qemu import MEMORY_DEFAULT, MEMORY_LEAST, Machine
from .session import BOOT_SECONDS, Session, Timeout, rows_and_columns

DESCRIPTION = """Installs what is missing, builds, and boots the hypervisor in QEMU with Debian's
kernel as Domain 0 and the guest `demo` beside it; you get Domain 0's shell. Leave with
`poweroff`, by leaving the shell, or with Ctrl-A x (Ctrl-A a sends a Ctrl-A)."""
EPILOG = """Exit status: that of the last of --exec's commands; else 0, 1 if something could not be
installed or built, 2 for a wrong option, 125 if the machine did not come up or died.
The guests' disk is as new in each run; what is written to a --disk FILE stays."""
DEMO_SECONDS = 240


def add_arguments(p) -> None:
    p.add_argument("--exec", metavar="COMMANDS", help="run these in Domain 0 when demo is up, without interaction: "
                   "only their output is printed, the exit status is the last one's")
    p.add_argument("--no-demo", action="store_true", help="do not start the guest demo")
    p.add_argument("--memory", metavar="MIB", type=int, default=MEMORY_DEFAULT,
                   help=f"the machine's memory (default: %(default)s; at least {MEMORY_LEAST})")
    p.add_argument("--cpus", metavar="N", type=int, default=2, help="the machine's CPUs (default: %(default)s)")
    p.add_argument("--cmdline", metavar="OPTIONS", default="", help="added to the hypervisor's boot line")
    p.add_argument("--disk", metavar="FILE", action="append", default=[],
                   help="a raw image as one more AHCI disk (/dev/sdb ...); may be given four times")
    p.add_argument("--file", metavar="SRC=DST", action="append", default=[],
                   help="put a file into Domain 0 under the absolute path DST")
    p.add_argument("--hypervisor", metavar="NAME", default="xenolith",
                   help="'stock' for Debian's Xen 4.17, or an image file (default: the one built here)")
    p.add_argument("--debug", action="store_true", help="the debug build, and the whole boot on the screen")


def main(options) -> int:
    _check(options)
    prepare()
    hypervisor, stock = choose_hypervisor(options)
    with tempfile.TemporaryDirectory(prefix="xenolith-") as scratch:
        initrd = _initrd(options.file, Path(scratch))
        machine = Machine(hypervisor, stock, memory=options.memory, cpus=options.cpus, cmdline=options.cmdline,
                          initrd=initrd, disks=[Path(d) for d in options.disk], kernel_args=_kernel_args(options))
        return run_commands(machine, options) if options.exec is not None else converse(machine, options)


def prepare() -> None:
    """Everything but the hypervisor: packages, Domain 0, the guests' disk. Quick if it is there."""
    packages.need(packages.RUN)
    dom0_image.build()
    demo_disk.build()


def choose_hypervisor(options) -> tuple[Path, bool]:
    """The image to boot, and whether it is stock Xen."""
    if options.hypervisor == "stock":
        return paths.STOCK_XEN, True
    if options.hypervisor == "xenolith":
        return build.hypervisor(options.debug), False
    return Path(options.hypervisor), False


def _check(o) -> None:
    if o.memory < MEMORY_LEAST:
        raise usage(f"--memory {o.memory} is too little", f"the machine needs at least {MEMORY_LEAST} MiB")
    if not 1 <= o.cpus <= 64:
        raise usage(f"--cpus {o.cpus} is not possible", "give a number from 1 to 64")
    if o.hypervisor not in ("stock", "xenolith") and not Path(o.hypervisor).is_file():
        raise usage(f"--hypervisor {o.hypervisor}: no such file", "give 'stock', 'xenolith' or an image file")
    if len(o.disk) > 4:
        raise usage("--disk was given more than four times", "the machine has four ports left")
    for disk in o.disk:
        if not Path(disk).is_file():
            raise usage(f"--disk {disk}: no such file", "make one, for example with 'truncate -s 1G FILE'")
        if not os.access(disk, os.R_OK | os.W_OK):
            raise usage(f"--disk {disk}: it cannot be read and written", "check its permissions")
    for pair in o.file:
        source, _, target = pair.partition("=")
        if not target.startswith("/") or target.endswith("/"):
            raise usage(f"--file {pair}: not of the form SRC=/absolute/path", "for example --file a.cfg=/etc/xen/a.cfg")
        if not Path(source).is_file() or not os.access(source, os.R_OK):
            raise usage(f"--file {source}: no such file that can be read")


def _initrd(files: list[str], scratch: Path) -> Path:
    """Domain 0's initramfs, with the user's files in a second archive behind it."""
    if not files:
        return paths.DOM0_INITRD
    extra = Archive()
    for pair in files:
        source, _, target = pair.partition("=")
        # /bin and the like are links in the image, and an archive cannot write through a link.
        extra.file(re.sub(r"^/(bin|sbin|lib|lib64)/", r"/usr/\1/", os.path.normpath(target)), Path(source))
    out = scratch / "dom0.cpio.gz"
    base = paths.DOM0_INITRD.read_bytes()
    out.write_bytes(base + bytes(-len(base) % 4) + extra.bytes())
    return out


def _kernel_args(options) -> str:
    words = ["xenolith.nodemo"] if options.no_demo else []
    words += ["xenolith.control=ttyS1"] if options.exec is not None else [rows_and_columns()]
    words += ["loglevel=7"] if options.debug else []
    return " ".join(words)


def converse(machine: Machine, options) -> int:
    """The interactive run."""
    name = "stock Xen" if machine.stock else "Xenolith"
    ui.note(f"booting {name} with {machine.cpus} CPUs and {machine.memory} MiB (Ctrl-A x ends it)")
    with Session(machine, log=paths.BUILD / "console.log", control=False) as session:
        session.echo = options.debug
        session.boot(ui.note)
        terminal.converse(session)
    return 0


def run_commands(machine: Machine, options) -> int:
    """--exec: boots, waits for demo, runs, switches off."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that QEMU ends too
    with Session(machine, log=paths.BUILD / "console.log") as session:
        session.echo = options.debug
        session.boot(ui.note)
        try:
            if not options.no_demo:
                status, text = session.run(f"wait-guest demo {DEMO_SECONDS}", DEMO_SECONDS + 60)
                if status:
                    raise Failure(text.strip(), status=MACHINE)
                ui.note("guest demo is up")
            status, _ = session.run(options.exec, seconds=float("inf"), output=_to_stdout)
        except Timeout as t:
            raise Failure(f"Domain 0 did not answer ({t})" + session.tail(), status=MACHINE) from None
        try:
            session.run("(sleep 0.2; poweroff) >/dev/null 2>&1 </dev/null &", 10)
        except Timeout:
            pass  # the status is known; the machine is ended in any case
        if not session.wait_end(60):
            ui.note("the machine did not switch itself off and is ended")
    return status


def _to_stdout(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise Failure("nobody reads the output any more", status=1) from None

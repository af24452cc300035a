"""`./xenolith image`: an ISO that boots on BIOS and UEFI, to try the hypervisor from a USB stick."""

from pathlib import Path

from . import build, iso, packages, paths, run, ui
from .errors import usage

DESCRIPTION = """Writes an ISO with GRUB, the hypervisor and the small Domain 0. It boots by BIOS and by UEFI, from a CD or
from a USB stick (`dd if=build/xenolith.iso of=/dev/sdX bs=4M`), and changes nothing on the machine's disks."""
EPILOG = """It has been tried in emulators only. Secure Boot has to be off: the hypervisor is not signed."""


def add_arguments(p) -> None:
    p.add_argument("--output", metavar="FILE", default=str(paths.BUILD / "xenolith.iso"),
                   help="where to (default: build/xenolith.iso)")


def main(options) -> int:
    out = Path(options.output)
    if not out.parent.is_dir():
        raise usage(f"--output {out}: there is no folder {out.parent}")
    packages.need(packages.BUILD + packages.RUN + iso.PACKAGES)
    run.prepare()
    hypervisor = build.hypervisor()
    ui.note("writing the ISO")
    both = "console=com1 com1=115200,8n1 dom0_mem=1024M loglvl=info guest_loglvl=warning"
    iso.make(out, hypervisor, [
        iso.Entry("Xenolith, a shell on the screen", both, "console=hvc0 console=tty0 xenolith.nodemo xenolith.nodisk "
                  "xenolith.shell=tty1"),
        iso.Entry("Xenolith, a shell on the first serial port", both, "console=hvc0 loglevel=4 xenolith.nodemo xenolith.nodisk"),
    ])
    ui.note(f"{out} ({out.stat().st_size / 1e6:.0f} MB): copy it to a USB stick, or try it with "
            f"'qemu-system-x86_64 -machine q35 -m 2048 -smp 2 -cpu max,-smap,-rdtscp -cdrom {out}'")
    return 0

"""Reads the command line and hands over to the subcommand."""

import argparse
import os
import sys
import traceback

from . import ui
from .errors import USAGE, Failure

COMMANDS = {
    "run": "boot it and get Domain 0's shell, with a guest running",
    "test": "build everything and run the tests",
    "build": "build the hypervisor's image",
    "image": "write an ISO that boots by BIOS and UEFI",
    "check": "say what Xenolith would do on this machine",
    "package": "build a Debian package for an installed Debian",
    "bench": "count instructions, beside stock Xen",
}


class _Parser(argparse.ArgumentParser):
    """Wrong options: one line, and where to look."""

    def error(self, message):
        ui.error(f"{message}: '{self.prog} --help' shows what there is")
        sys.exit(USAGE)


def _command(name: str):
    from . import bench, build, check, image, package, run, test

    return {"run": run, "test": test, "build": build, "image": image, "check": check, "package": package, "bench": bench}[name]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="./xenolith", description="Xenolith, a hypervisor with Xen's ABI.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for name, text in COMMANDS.items():
        module = _command(name)
        sub = commands.add_parser(name, help=text, description=module.DESCRIPTION, epilog=getattr(module, "EPILOG", None))
        module.add_arguments(sub)
        sub.set_defaults(main=module.main)
    return parser


def main() -> int:
    options = _parser().parse_args()
    try:
        return options.main(options)
    except Failure as failure:
        ui.error(failure.line())
        return failure.status
    except PermissionError as e:
        ui.error(f"{e.filename} cannot be written: it belongs to another user; remove it or change its owner")
        return 1
    except OSError as e:
        ui.error(f"{e.filename or 'the system'}: {e.strerror}: is there enough space, and is the file in order?")
        return 1
    except KeyboardInterrupt:
        ui.error("interrupted")
        return 130
    except Exception as e:  # a fault of this program: where it is, in one line
        at = traceback.extract_tb(e.__traceback__)[-1]
        ui.error(f"internal error in {os.path.basename(at.filename)}:{at.lineno}: {type(e).__name__}: {e}")
        return 1


if __name__ == "__main__":
    status = main()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(status)

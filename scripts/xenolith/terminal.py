"""The user's terminal on the machine's console, and back as it was."""

import contextlib
import os
import select
import signal
import sys
import termios
import tty

from . import ui
from .session import Session

ESCAPE = b"\x01"  # Ctrl-A, as QEMU has it
HELP = "\r\nCtrl-A x ends the machine, Ctrl-A a sends a Ctrl-A, Ctrl-A h shows this.\r\n"


@contextlib.contextmanager
def raw_terminal():
    """Keys go through one by one; whatever happens, the terminal is as before afterwards."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)

    def leave(signum, _frame):
        raise SystemExit(128 + signum)

    old = signal.signal(signal.SIGTERM, leave)
    old_hangup = signal.signal(signal.SIGHUP, leave)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        # What a program in the guest may have left on: colours, alternate screen, hidden cursor,
        # wrapping off, application keys, bracketed paste, mouse reports.
        if sys.stdout.isatty():
            os.write(1, b"\033[0m\033[?1049l\033[?25h\033[?7h\033[?1l\033>\033[?2004l\033[?1000l\r\n")
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, before)
        signal.signal(signal.SIGTERM, old)
        signal.signal(signal.SIGHUP, old_hangup)


class _Keys:
    """Takes the escape out of what is typed."""

    def __init__(self):
        self.escaped = False
        self.quit = False

    def feed(self, data: bytes) -> bytes:
        out = b""
        for byte in (data[i : i + 1] for i in range(len(data))):
            if self.escaped:
                self.escaped = False
                if byte in b"xX":
                    self.quit = True
                    return out
                if byte in (b"a", ESCAPE):
                    out += ESCAPE
                elif byte == b"h":
                    os.write(2, HELP.encode())
            elif byte == ESCAPE:
                self.escaped = True
            else:
                out += byte
        return out


def converse(session: Session) -> None:
    """Joins the terminal and the console until the machine or the user ends it."""
    console, keys = session.console, _Keys()
    terminal = sys.stdin.isatty()
    sources = [console.ours, sys.stdin.fileno()]
    with raw_terminal():
        _show(console.buffer)
        console.buffer = b""
        while console.open and not keys.quit:
            ready, _, _ = select.select(sources, [], [])
            if console.ours in ready:
                _show(console.read(0))
            if sys.stdin.fileno() in ready:
                data = os.read(0, 4096)
                if not data:  # a script's end: the shell is left as by Ctrl-D
                    sources.remove(sys.stdin.fileno())
                    data = b"\x04"
                data = keys.feed(data) if terminal else data
                with contextlib.suppress(OSError):
                    console.send(data)
    if keys.quit:
        ui.note("the machine was ended by Ctrl-A x")


def _show(data: bytes) -> None:
    # Domain 0's terminal and the hypervisor's serial driver each add a carriage return.
    data = data.replace(b"\r\r\n", b"\r\n")
    while data:
        data = data[os.write(1, data):]

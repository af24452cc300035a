"""A running machine: its console, and a second serial port that Domain 0 takes commands from."""

import base64
import ctypes
import os
import re
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from .errors import MACHINE, Failure
from .qemu import Machine

BOOT_SECONDS = 300
# All limits of time are for an idle machine with two cores; on a busy one they may be stretched.
PATIENCE = float(os.environ.get("XENOLITH_PATIENCE", "1"))


_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """In QEMU's process: however this program ends, no machine is left running."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Timeout(Exception):
    """Something was waited for and did not come."""


class Channel:
    """One serial port of the machine: bytes both ways, and waiting for a pattern."""

    def __init__(self, log: Path | None = None):
        self.ours, self.theirs = socket.socketpair()
        self.buffer = b""
        self.open = True
        self.log = open(log, "wb") if log else None

    def read(self, seconds: float) -> bytes:
        """What comes within that time; b"" if nothing does or the machine has ended."""
        ready, _, _ = select.select([self.ours], [], [], max(0, seconds))
        if not ready:
            return b""
        try:
            data = self.ours.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.open = False
        elif self.log:
            self.log.write(data)
            self.log.flush()
        return data

    def send(self, data: bytes) -> None:
        self.ours.sendall(data)

    def expect(self, pattern: str | bytes, seconds: float) -> re.Match:
        """Waits for a regular expression, and drops what was read up to its end."""
        rx = re.compile(pattern.encode() if isinstance(pattern, str) else pattern, re.M)
        end = time.monotonic() + seconds * PATIENCE
        while not (m := rx.search(self.buffer)):
            left = end - time.monotonic()
            if left <= 0 or not self.open:
                raise Timeout(f"{'the machine ended' if not self.open else f'{seconds:.0f} s passed'} "
                              f"without {rx.pattern.decode()!r}")
            self.buffer += self.read(min(left, 1))
        self.buffer = self.buffer[m.end():]
        return m

    def close(self) -> None:
        self.ours.close()
        if self.log:
            self.log.close()


class Session:
    """QEMU with its two serial ports. Use as a context: the machine ends with it."""

    def __init__(self, machine: Machine, log: Path | None = None, control: bool = True):
        self.machine = machine
        self.console = Channel(log)
        self.control = Channel() if control else None
        argv, pass_on = machine.command(), []
        for name, channel in (("com1", self.console), ("com2", self.control)):
            if channel:
                fd = channel.theirs.fileno()
                pass_on.append(fd)
                argv += ["-chardev", f"socket,id={name},fd={fd}", "-serial", f"chardev:{name}"]
        self.echo = False  # show the console on standard error while booting
        self._seen = b""
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, pass_fds=pass_on, start_new_session=True,
                                        preexec_fn=_die_with_parent)
        for channel in filter(None, (self.console, self.control)):
            channel.theirs.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        for channel in filter(None, (self.console, self.control)):
            channel.close()

    def wait_end(self, seconds: float) -> bool:
        """Whether the machine has switched itself off within that time (its console is read)."""
        end = time.monotonic() + seconds * PATIENCE
        while self.console.open and time.monotonic() < end:
            self.console.buffer += self.console.read(1)
        try:
            self.process.wait(max(1, end - time.monotonic()))
            return True
        except subprocess.TimeoutExpired:
            return False

    def qemu_error(self) -> str:
        """QEMU's own last word, if it could not start."""
        if self.process.poll() in (None, 0):
            return ""
        return self.process.stderr.read().decode(errors="replace").strip().rpartition("\n")[2]

    def boot(self, progress=lambda line: None, seconds: float = BOOT_SECONDS) -> None:
        """Until Domain 0 says that it is ready; each line of its progress goes to `progress`."""
        end = time.monotonic() + seconds * PATIENCE
        while True:
            try:
                m = self.console.expect(rb"^(?:.*\r)?xenolith: (.*?)\r*\n|^.*\n", max(0, end - time.monotonic()) / PATIENCE)
            except Timeout as t:
                raise Failure(f"Domain 0 did not come up ({t})" + self.tail(), status=MACHINE) from None
            self._seen = (self._seen + m[0])[-8000:]
            if self.echo:
                sys.stderr.write(m[0].decode(errors="replace").replace("\r", ""))
            if m[1] == b"ready":
                return
            if m[1] is not None and not self.echo:
                progress(m[1].decode(errors="replace"))

    def tail(self, lines: int = 25) -> str:
        """For an error's text: what QEMU or else the console said last."""
        error = self.qemu_error()
        if error:
            return f"; QEMU says: {error}"
        text = (self._seen + self.console.buffer).decode(errors="replace").replace("\r", "")
        return "; the console ended so:\n" + "\n".join(f"  | {l}" for l in text.rstrip().split("\n")[-lines:])

    def run(self, script: str, seconds: float = 120, output=None) -> tuple[int, str]:
        """Runs a script in Domain 0; gives its exit status and what it printed (both streams).

        With `output`, a function that takes bytes, what is printed goes there as it comes.
        Raises Timeout if the script does not end in time or the machine ends first.
        """
        nonce = secrets.token_hex(12)
        self.control.send(f"{nonce} {base64.b64encode(script.encode()).decode()}\n".encode())
        rx = re.compile(rb"\n" + nonce.encode() + rb" (\d+)\n")
        end, data = time.monotonic() + seconds * PATIENCE, b""
        while True:
            data += self.control.read(min(1, end - time.monotonic()))
            m = rx.search(data)
            if output:  # what might be the beginning of the end mark is held back
                ready = data[: m.start()] if m else data[: max(0, len(data) - len(nonce) - 8)]
                output(ready)
                data = data[len(ready):] if not m else data
            if m:
                return int(m[1]), (data[: m.start()]).decode(errors="replace")
            self.console.buffer = (self.console.buffer + self.console.read(0))[-200000:]
            if time.monotonic() >= end or not self.control.open:
                why = "the machine ended" if not self.control.open else f"no end after {seconds:.0f} s"
                raise Timeout(f"{why}: {script[:100]}")


def rows_and_columns() -> str:
    """The terminal's size and kind, for Domain 0's kernel line."""
    try:
        size = os.get_terminal_size()
    except OSError:
        return ""
    term = re.sub(r"[^a-z0-9-]", "", os.environ.get("TERM", "vt220"))
    return f"xenolith.rows={size.lines} xenolith.cols={size.columns} xenolith.term={term}"

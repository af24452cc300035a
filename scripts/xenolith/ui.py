"""Progress for the person who waits: everything here goes to standard error."""

import sys
import time

_start = time.monotonic()


def note(text: str) -> None:
    """One line of progress, with the seconds since the command began."""
    print(f"[{time.monotonic() - _start:6.1f} s] {text}", file=sys.stderr, flush=True)


def error(text: str) -> None:
    print(f"xenolith: {text}", file=sys.stderr, flush=True)


class Counter:
    """`n of m` on one line that is rewritten on a terminal, and said every tenth otherwise."""

    def __init__(self, what: str, total: int):
        self.what, self.total, self.done = what, total, 0
        self.tty = sys.stderr.isatty()

    def step(self) -> None:
        self.done += 1
        text = f"{self.what}: {self.done} of {self.total}"
        last = self.done == self.total
        if self.tty:
            print(f"\r\033[K{text}", end="\n" if last else "", file=sys.stderr, flush=True)
        elif last or self.done * 10 // self.total != (self.done - 1) * 10 // self.total:
            note(text)

"""Progress for the person who waits; the table alone is on standard output."""

import sys
import time

_start = time.monotonic()


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def seconds():
    """Since the command began."""
    return time.monotonic() - _start

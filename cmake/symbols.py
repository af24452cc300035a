#!/usr/bin/env python3
"""The hypervisor's table of its own functions, as assembler source: `nm`'s list of a linked image goes in.

  symbols.py OUTPUT [NM IMAGE]    without an image: an empty table

The image is linked twice: with an empty table, and with the one made from that. Both have their code at the same addresses,
as the table lies behind it (xenolith.lds).
"""

import subprocess
import sys

MAX_NAME = 127  # Xen's KSYM_NAME_LEN: what readers have room for


def plain(name: str) -> str:
    """Without types and the names of nowhere, which a reader of a backtrace does not need."""
    name = name.replace("(anonymous namespace)::", "").replace(" [clone ", "").rstrip("]").replace(" const", "")
    short = "".join(_outside(name.replace("operator()", "call"))).replace("{#", "{lambda#")
    return short.split(" ")[-1][:MAX_NAME] or name.split(" ")[-1][:MAX_NAME]


def _outside(name: str):
    """The characters that are in no brackets: not the arguments of functions and templates."""
    depth = 0
    for c in name.replace("{lambda", "{"):
        depth += c in "(<"
        if depth == 0:
            yield c
        depth -= c in ")>"


def functions(nm: str, image: str) -> list[tuple[int, str, str]]:
    """(address, letter of nm's, name), in order of addresses; of several names for one, the first."""
    found = {}
    for line in subprocess.run([nm, "-C", "--defined-only", "-n", image], capture_output=True, text=True, check=True).stdout.splitlines():
        address, letter, name = line.split(" ", 2)
        if letter in "tT" and not name.startswith("."):
            found.setdefault(int(address, 16), (letter, plain(name)))
    return [(address, *rest) for address, rest in sorted(found.items())]


def source(table: list[tuple[int, str, str]]) -> str:
    lines = ['.section .rodata.symbols, "a", @progbits', ".balign 8"]
    for name, values in (
        ("symbol_count", [f".quad {len(table)}"]),
        ("symbol_addresses", [f".quad {address:#x}" for address, _, _ in table]),
        ("symbol_names", [f".long {offset}" for offset in _offsets(table)]),
        ("symbol_text", [f'.asciz "{letter}{name}"' for _, letter, name in table]),
    ):
        lines += [f".globl {name}", f".hidden {name}", f"{name}:", *values]
    return "\n".join(lines) + "\n"


def _offsets(table):
    at = 0
    for _, letter, name in table:
        yield at
        at += len(letter) + len(name.encode()) + 1


if __name__ == "__main__":
    output, *image = sys.argv[1:]
    text = source(functions(*image) if image else [])
    with open(output, "w", encoding="utf8") as f:
        f.write(text)

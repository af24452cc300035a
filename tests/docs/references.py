#!/usr/bin/env python3
"""What README.md and docs/*.md name: files and functions that are still there.

A path in backquotes must exist (`DIR/name.*` stands for several files), a `function()` must be
defined or declared somewhere, and a relative link must lead to a file. Needs no build.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = [p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")]
SOURCES = [p for d in ("base", "hv", "efi") for p in (ROOT / d).rglob("*") if p.suffix in (".cpp", ".hpp", ".S")]
# What `./xenolith build` makes.
MADE = re.compile(r"build/")


def words() -> set[str]:
    """Every identifier of the hypervisor's sources."""
    return {w for p in SOURCES for w in re.findall(r"\w+", p.read_text(encoding="utf8"))}


def exists(path: str) -> bool:
    return bool(list(ROOT.glob(path.rstrip("/")))) if "*" in path else (ROOT / path).exists()


def problems() -> list[str]:
    known, out = words(), []
    for page in PAGES:
        # In a block of code functions are not quoted; paths are, so that it is told what they are.
        for number, line in enumerate(page.read_text(encoding="utf8").splitlines(), 1):
            where = f"{page.relative_to(ROOT)}:{number}: "
            for quoted in re.findall(r"`([^`]+)`", line):
                path = re.fullmatch(rf"((?:{'|'.join(FOLDERS)})/[\w./*-]*)", quoted)
                if path and not MADE.match(path[1]) and not exists(path[1]):
                    out.append(f"{where}there is no {path[1]}")
            for function in re.findall(r"\b(\w+)\(\)", line):
                if function not in known:
                    out.append(f"{where}there is no function {function}")
            for target in re.findall(r"\]\((?!https?:)([^)#]+)", line):
                if not (page.parent / target).exists():
                    out.append(f"{where}the link to {target} leads nowhere")
    return out


if __name__ == "__main__":
    found = problems()
    print("\n".join(found) or f"{len(PAGES)} pages name nothing that is not there")
    sys.exit(bool(found))

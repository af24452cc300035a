#!/usr/bin/env python3
"""docs/security.md: every test it names is there, and every test that is named after an advisory is on the page.

A word in backquotes that is no path, no option and no instruction is a test's name: it has an underscore in it.
`name_*` stands for several. Needs no build and no hypervisor.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import abi_coverage  # noqa: E402

PAGE = abi_coverage.ROOT / "docs/security.md"


def problems() -> list[str]:
    known, out, named = abi_coverage.tests(), [], set()
    for number, line in enumerate(PAGE.read_text(encoding="utf8").splitlines(), 1):
        for name in re.findall(r"`([a-z]\w*_[\w*]*)`", line):
            named.add(name)
            found = any(t.startswith(name[:-1]) for t in known) if name.endswith("*") else name in known
            if not found:
                out.append(f"docs/security.md:{number}: there is no test {name}")
    return out + [f"docs/security.md does not name the test {t}" for t in sorted(known - named) if t.startswith("xsa_")]


if __name__ == "__main__":
    found = problems()
    print("\n".join(found) or "every test of an advisory is named, and exists")
    sys.exit(bool(found))

#!/usr/bin/env python3
"""docs/abi-coverage.md against Xen's public headers, the hypervisor's sources and the tests.

Fails if an operation of the headers is not on the page, if a row's status is not what the sources
say, or if it names a test that there is not. Needs no build and no hypervisor.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/abi-coverage.md"
HEADERS = Path("/usr/include/xen")
STATUS = {"done", "refused", "missing"}

# Header, and the names of its operations; in domctl.h and sysctl.h only what `cmd` can be, since
# their other constants are named alike.
OPERATIONS = [
    ("xen.h", r"__HYPERVISOR_\w+|MMUEXT_[A-Z0-9_]+|MMU_(?:NORMAL|MACHPHYS|PT)_\w+|CONSOLEIO_\w+|VMASST_(?:CMD|TYPE)_\w+|VIRQ_\w+"),
    ("event_channel.h", r"EVTCHNOP_\w+"),
    ("grant_table.h", r"GNTTABOP_\w+"),
    ("memory.h", r"XENMEM_[a-z]\w*"),
    ("vcpu.h", r"VCPUOP_\w+"),
    ("sched.h", r"SCHEDOP_\w+"),
    ("physdev.h", r"PHYSDEVOP_[a-z]\w*"),
    ("platform.h", r"XENPF_[a-z]\w*"),
    ("domctl.h", r"XEN_DOMCTL_[a-z]\w*"),
    ("sysctl.h", r"XEN_SYSCTL_[a-z]\w*"),
    ("version.h", r"XENVER_\w+"),
    ("callback.h", r"CALLBACK(?:OP|TYPE)_\w+"),
    ("nmi.h", r"XENNMI_\w+"),
    ("kexec.h", r"KEXEC_CMD_\w+"),
]
# The architecture's own numbers, which x86 does not use, and names that are another one's alias.
NOT_OPERATIONS = re.compile(r"VIRQ_ARCH_\d|__HYPERVISOR_dom0_op|.*_h_*$")


def header_operations() -> set[str]:
    """Every `#define NAME number` whose name is an operation's."""
    found = set()
    for header, names in OPERATIONS:
        text = (HEADERS / header).read_text(encoding="utf8")
        if m := re.search(r"struct xen_\w+ \{\s*uint32_t cmd;\n(#define.*?)uint32_t interface_version;", text, re.S):
            text = m[1]
        found |= set(re.findall(rf"^\s*#\s*define\s+({names})\s+\(?[\d_]", text, re.M))
    return {name for name in found if not NOT_OPERATIONS.fullmatch(name)}


def rows(page: str):
    """(line, names in the first column, status, names in the last column) of each row."""
    for number, line in enumerate(page.splitlines(), 1):
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 4 and cells[1] != "status":
            yield number, re.findall(r"`([\w.]+)`", cells[0]), cells[1], re.findall(r"`([\w.]+)`", cells[3])


def handled(sources: str) -> set[str]:
    """Constants that code, and not only a comment, speaks of."""
    code = re.sub(r"//.*|/\*.*?\*/", "", sources)
    return set(re.findall(r"\b[A-Z_]{4,}[A-Za-z]\w*", code))


def tests() -> set[str]:
    found = set()
    for case in (ROOT / "tests/guest/cases").glob("*.cpp"):
        found |= set(re.findall(r"^TEST\((\w+)", case.read_text(encoding="utf8"), re.M))
    for unit in (ROOT / "tests/unit").glob("*.cpp"):
        found |= {".".join(t) for t in re.findall(r"^TEST(?:_F|_P)?\((\w+), *(\w+)", unit.read_text(encoding="utf8"), re.M)}
    for system in (ROOT / "tests/system").glob("*.py"):
        text = system.read_text(encoding="utf8")
        checks = [name for names in re.findall(r'^def (\w+)\(|^    \("(\w+)", ', text, re.M) for name in names if name]
        others = re.findall(r"^from (\w+) import .*\bsuite\b", text, re.M)  # it adds to that file's suite
        for suite in {system.stem, *others, *re.findall(r'= Suite\("(\w+)"', text)}:
            found |= {f"{suite}.{check}" for check in checks}
    return found


def problems() -> list[str]:
    page = PAGE.read_text(encoding="utf8")
    out = [f"{name} is in Xen's headers and not on the page" for name in sorted(header_operations() - set(re.findall(r"`(\w+)`", page)))]
    sources = "\n".join(p.read_text(encoding="utf8") for p in sorted((ROOT / "hv").rglob("*.cpp")))
    bound, known = handled(sources), tests()
    for number, names, status, shown_by in rows(page):
        where = f"docs/abi-coverage.md:{number}: "
        if status not in STATUS:
            out.append(f"{where}the status {status!r} is none of {', '.join(sorted(STATUS))}")
        for name in (n for n in names if checkable(n)):
            if status == "done" and name not in bound:
                out.append(f"{where}{name} is said to be done, and nothing in hv/ handles it")
            if status == "missing" and name in bound:
                out.append(f"{where}{name} is said to be missing, and something in hv/ handles it")
        out += [f"{where}there is no test {test}" for test in shown_by if test not in known]
    return out


def checkable(name: str) -> bool:
    """Whether a constant in the sources means a handler. kexec_op's says only who may not, two callbacks are only recorded."""
    return bool(re.match(r"__HYPERVISOR_(?!kexec_op)|EVTCHNOP_(?!reset_cont)|GNTTABOP_|XENMEM_(?!resource_)|VCPUOP_|SCHEDOP_|PHYSDEVOP_|XENPF_|"
                         r"XEN_DOMCTL_|XEN_SYSCTL_|XENVER_|MMUEXT_|CALLBACK(?!TYPE_sys(?:call32|enter)$)|CONSOLEIO_|XENNMI_", name))


if __name__ == "__main__":
    found = problems()
    print("\n".join(found) or f"{len(header_operations())} operations accounted for")
    sys.exit(bool(found))

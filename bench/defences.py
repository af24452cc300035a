#!/usr/bin/env python3
"""The defences that are active on both hypervisors with the bench's boot line, read off the running machines.

The bench's guest stops before a hypercall and before a privileged instruction; from outside (gdb.py) its way is followed
instruction by instruction, the page tables are walked, and control registers, stacks and code are looked at. A defence that
stock Xen has and Xenolith has not is a failure, unless KNOWN says why.
"""
import argparse
import concurrent.futures
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

import gdb
import tables
import tiny
from machine import QEMU
from path import ARGUMENTS, FOURTH_IN_C, PRED_CMD, SPEC_CTRL, Path

KNOWN = {
    "LFENCEs in the code": "branch-harden: here only where a check guards loads that lead on (docs/performance.md)",
    "places of returns": "one thunk: for Intel processors whose returns are predicted like indirect branches (XSA-469): docs/security.md",
}
# CPUID bits of what only the processor can do: (register, bit). The bench's has none of it.
FEATURES = {"IBRS and IBPB": ("7d", 26), "STIBP": ("7d", 27), "SSBD": ("7d", 31), "L1D_FLUSH": ("7d", 28), "MD_CLEAR": ("7d", 10),
            "AMD's IBPB": ("8b", 12), "AMD's IBRS": ("8b", 14), "AMD's STIBP": ("8b", 15), "AMD's SSBD": ("8b", 24),
            "shadow stacks": ("7c", 7), "indirect-branch tracking": ("7d", 20)}
M2P_SLOT = (0xffff800000000000, 0xffff808000000000)
EXCEPTIONS = {"#DB": 1, "NMI": 2, "#DF": 8, "#MC": 18}
CLEARED_FLAGS = 0x100 | 0x400 | 0x4000 | 0x40000  # TF DF NT AC
FAR = 1 << 20  # bytes of the hypervisor that may be seen while an isolated guest runs, beside the M2P
DEEPEST = 16   # pages of a stack
SECONDS = 300  # for one answer; the first comes when the guest has booted


class Seen:
    """One hypervisor, looked at."""

    def __init__(self, stub, symbols):
        stub.run_to(symbols["probe_hypercall"])
        self.guest = _control(stub)
        self.guest_leaves = tables.hypervisor_leaves(stub, self.guest["CR3"])
        self.hypercall = Path(stub, symbols["probe_after_hypercall"], lambda: self._look_inside(stub))
        stub.run_to(symbols["probe_fault"])
        self.fault = Path(stub, symbols["probe_after_fault"], lambda: None)

    def _look_inside(self, stub):
        self.inside = _control(stub)
        self.leaves = tables.hypervisor_leaves(stub, self.inside["CR3"])
        self.stack_top, = struct.unpack("<Q", stub.memory(self.inside["TR"] + 4, 8))
        gates = stub.memory(self.inside["IDT"], 16 * 32)
        self.own_stacks = {name: gates[16 * vector + 4] & 7 for name, vector in EXCEPTIONS.items()}
        code = [leaf for leaf in self.leaves if leaf.execute]
        self.code = "".join(_disassembled(stub.memory(leaf.start, leaf.size)) for leaf in code)


def _control(stub):
    """{CR0, CR3, CR4, EFER: value; TR, IDT: address} as QEMU's monitor tells them."""
    text = stub.monitor("info registers")
    found = {name: int(re.search(rf"{name}\s*=\s*([0-9a-f]+)", text)[1], 16) for name in ("CR0", "CR3", "CR4", "EFER", "IDT")}
    found["TR"] = int(re.search(r"TR =\w+ ([0-9a-f]+)", text)[1], 16)
    return found


def _disassembled(code):
    """A piece of code as text; objdump falls into step behind data by itself."""
    with tempfile.NamedTemporaryFile(prefix="xenolith-code-") as file:
        file.write(code)
        file.flush()
        return subprocess.run(["objdump", "-D", "-b", "binary", "-m", "i386:x86-64", file.name], capture_output=True,
                              text=True, check=True).stdout


def _kib(leaves):
    return sum(leaf.size for leaf in leaves) // 1024


def _outside_m2p(leaf):
    return not M2P_SLOT[0] <= leaf.start < M2P_SLOT[1]


def _writable_code(leaves):
    """KiB of frames that hold code and can be written by some mapping."""
    written = [(leaf.frame, leaf.frame + leaf.size) for leaf in leaves if leaf.write]
    return sum(max(0, min(end, leaf.frame + leaf.size) - max(start, leaf.frame)) for leaf in leaves if leaf.execute
               for start, end in written) // 1024


def _guard(seen):
    """How many KiB below the top of the stack the first page lies that cannot be written."""
    for page in range(1, DEEPEST + 1):
        leaf = tables.find(seen.leaves, seen.stack_top - page * 4096)
        if not leaf or not leaf.write:
            return (page - 1) * 4
    return None


def _yes(held, more=""):
    return (1, f"yes{more}") if held else (0, f"no{more}")


def _few(count, unit=""):
    """The fewer the better."""
    return -count, f"{count}{unit}"


def rows(seen, features):
    """{defence: (how strong, as a number; as text)}."""
    inside, paths = seen.inside, (seen.hypercall, seen.fault)
    visible = _kib(filter(_outside_m2p, seen.guest_leaves))
    isolated = seen.guest["CR3"] != inside["CR3"] and visible * 1024 < FAR
    shown = {leaf.start for leaf in seen.guest_leaves}
    hidden = [leaf for leaf in seen.leaves if leaf.start not in shown]
    lasting = isolated and inside["CR4"] >> 7 & 1 and any(leaf.everywhere for leaf in hidden)
    own_stacks = [name for name, ist in seen.own_stacks.items() if ist]
    guard = _guard(seen)
    found = {
        "SMEP": _yes(inside["CR4"] >> 20 & 1), "SMAP": _yes(inside["CR4"] >> 21 & 1), "UMIP": _yes(inside["CR4"] >> 11 & 1),
        "write protection in ring 0": _yes(inside["CR0"] >> 16 & 1), "no-execute": _yes(inside["EFER"] >> 11 & 1),
        "no performance counters in ring 3": _yes(not seen.guest["CR4"] >> 8 & 1),
        "pages writable and executable": _few(_kib(leaf for leaf in seen.leaves if leaf.write and leaf.execute), " KiB"),
        "code that another mapping writes": _few(_writable_code(seen.leaves), " KiB"),
        "what ring 3 can write": _few(_kib(leaf for leaf in seen.guest_leaves if leaf.user and leaf.write), " KiB"),
        "what ring 3 can read, M2P aside": _few(_kib(l for l in seen.guest_leaves if l.user and _outside_m2p(l)), " KiB"),
        "page tables isolated": _yes(isolated, f", {visible:,} KiB seen"),
        "nothing isolated lasts in the TLB": _yes(isolated and not lasting),
        "guard page below the stack": _yes(guard is not None, f", {guard} KiB down" if guard is not None else ""),
        "stacks of their own": (len(own_stacks), " ".join(own_stacks) or "none"),
        "flags cleared on entry": _yes(not seen.hypercall.entry_flags() & CLEARED_FLAGS),
        "registers left, hypercall": _few(len(seen.hypercall.left_at_turn(ARGUMENTS + (FOURTH_IN_C,)))),
        "registers left, fault": _few(len(seen.fault.left_at_turn())),
        "indirect branches on these ways": _few(sum(p.count(lambda s: s.is_indirect()) for p in paths)),
        "indirect branches in the code": _few(len(re.findall(r"\t(?:call|jmp) +\*", seen.code))),
        "LFENCEs in the code": (fences := len(re.findall(r"\tlfence", seen.code)), f"{fences:,}"),
        "places of returns": _few(len({s.registers["rip"] for p in paths for s in p.steps if s.is_return()})),
        "return stack overwritten": _yes(all(p.count(lambda s: s.is_call()) - p.count(lambda s: s.is_return()) >= 16 for p in paths)),
        "buffers overwritten (VERW)": _yes(any(p.count(lambda s: s.is_verw()) for p in paths)),
        "SPEC_CTRL written": _yes(any(p.count(lambda s: s.writes_msr(SPEC_CTRL)) for p in paths)),
        "PRED_CMD written": _yes(any(p.count(lambda s: s.writes_msr(PRED_CMD)) for p in paths)),
    }
    # What the processor has not, nobody can use; one that has it wants more rows than these.
    for name, (register, bit) in FEATURES.items():
        found[f"processor: {name}"] = (0, "has it" if features[register] >> bit & 1 else "has it not")
    return found


def symbols_of(image):
    text = subprocess.run(["nm", str(image)], capture_output=True, text=True, check=True).stdout
    return {name: int(address, 16) for address, _, name in (line.split() for line in text.splitlines()) if name.startswith("probe_")}


def look(hypervisor, image, extra):
    """rows() of one hypervisor."""
    with tempfile.TemporaryDirectory(prefix="xenolith-defences-") as place:
        place = pathlib.Path(place)
        argv = [a for a in QEMU if a != "-icount" and not a.startswith("shift=")]
        argv += ["-m", "512", "-kernel", str(hypervisor), "-append", f"{tiny.BOOT_LINE} {extra}".strip(), "-initrd",
                 f"{image} tests=defences", "-S", "-gdb", f"unix:{place / 'gdb'},server=on,wait=off"]
        with open(place / "console", "w") as console:
            machine = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)
        try:
            stub = gdb.Stub(place / "gdb", SECONDS)
            seen = Seen(stub, symbols_of(image))
            stub.close()
        finally:
            machine.kill()
            machine.wait()
        said = re.search(r"CPUID 7c (\w+) 7d (\w+) 8b (\w+)", (place / "console").read_text(errors="replace"))
        return rows(seen, dict(zip(("7c", "7d", "8b"), (int(v, 16) for v in said.groups()))))


def compare(ours, theirs, out):
    """A line each; the number that failed."""
    out(f"      defence {'':38} {'stock':>26} {'Xenolith':>26}")
    failed = 0
    for name, (strength, text) in ours.items():
        there, text_there = theirs[name]
        reason = KNOWN.get(name) if strength < there else None
        bad = text == "has it" or strength < there and not reason
        failed += bad
        out(f"{'FAIL' if bad else 'pass'}  defence {name:38} {text_there:>26} {text:>26}" + (f"  -- {reason}" if reason else ""))
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--xenolith", required=True, help="Xenolith's image")
    parser.add_argument("--stock", required=True, help="stock Xen 4.17, unpacked")
    parser.add_argument("--args", default="", help="added to both boot lines, such as xpti=true")
    parser.add_argument("--images", help="folder of the built benchmark guest")
    args = parser.parse_args()
    image = tiny.find_images(args.images) / "bench-pv64"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        ours, theirs = pool.map(lambda hypervisor: look(hypervisor, image, args.args), (args.xenolith, args.stock))
    print(f"      {tiny.BOOT_LINE} {args.args}")
    failed = compare(ours, theirs, lambda line: print(line, flush=True))
    print(f"{len(ours) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

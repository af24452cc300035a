"""What page tables of a stopped machine map: its hypervisor's range, leaf by leaf."""

import struct
from dataclasses import dataclass

PRESENT, WRITE, USER, LARGE, GLOBAL, NO_EXECUTE = 1, 2, 4, 0x80, 0x100, 1 << 63
ADDRESS = 0x000ffffffffff000
HYPERVISOR_SLOTS = range(256, 272)  # of the L4: ffff8000'00000000 to ffff8800'00000000


@dataclass
class Leaf:
    """A run of addresses mapped alike, to adjacent frames."""

    start: int
    size: int
    frame: int  # physical address
    write: bool
    user: bool
    execute: bool
    everywhere: bool  # global

    def rights(self):
        return self.write, self.user, self.execute, self.everywhere

    def end(self):
        return self.start + self.size


def _entries(stub, table, cache):
    if table not in cache:
        cache[table] = struct.unpack("<512Q", stub.physical(table, 4096))
    return cache[table]


def _walk(stub, table, level, base, rights, slots, cache):
    # A table that shows up in many places (what the M2P has between RAM) says the same each time.
    if (table, rights) in cache:
        return
    cache[table, rights] = True
    for slot in slots:
        entry = _entries(stub, table, cache)[slot]
        if not entry & PRESENT:
            continue
        here = base + (slot << (12 + 9 * (level - 1)))
        now = rights & entry & (WRITE | USER) | (rights | entry) & NO_EXECUTE
        if level > 1 and not entry & LARGE:
            yield from _walk(stub, entry & ADDRESS, level - 1, here, now, range(512), cache)
            continue
        size = 1 << (12 + 9 * (level - 1))
        yield Leaf(here, size, entry & ADDRESS & ~(size - 1), bool(now & WRITE), bool(now & USER),
                   not now & NO_EXECUTE, bool(entry & GLOBAL))


def hypervisor_leaves(stub, cr3):
    """What the tables at `cr3` map of the hypervisor's range, neighbours of a kind as one."""
    runs, seen = [], set()
    for leaf in _walk(stub, cr3 & ADDRESS, 4, 0xffff000000000000, WRITE | USER, HYPERVISOR_SLOTS, {}):
        last = runs[-1] if runs else None
        if last and last.end() == leaf.start and last.rights() == leaf.rights() and last.frame + last.size == leaf.frame:
            last.size += leaf.size
        elif (leaf.frame, leaf.size, leaf.rights()) not in seen:  # the same page again and again: once
            seen.add((leaf.frame, leaf.size, leaf.rights()))
            runs.append(leaf)
    return runs


def find(leaves, address):
    """The leaf that maps it, or None."""
    return next((leaf for leaf in leaves if leaf.start <= address < leaf.end()), None)

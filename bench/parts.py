"""The parts of the bench, and which rows of which a command line picks."""

import re
from dataclasses import dataclass

import rows
from table import Row


@dataclass(frozen=True)
class Part:
    name: str
    heading: str
    rows: list[Row]
    by: str  # which figure of a row is compared: minimum or median
    args: str = ""  # added to both boot lines


PARTS = [
    Part("paths", "the tiny guest, as the machine asks", rows.TINY + rows.ONCE, "minimum"),
    Part("isolation", "the same with page-table isolation forced on both (xpti=true)", rows.TINY, "minimum",
         "xpti=true"),
    Part("debian", "Debian's kernel as Domain 0 and as guest", rows.DEBIAN, "median"),
]
NAMES = [part.name for part in PARTS]


def choose(names=None, pattern=None, args=""):
    """[(part, its rows that match `pattern`)]. Without names all parts; but isolation not by itself, where rows are
    picked or something else is added to the boot lines. Raises LookupError where no row matches."""
    if not names:
        names = [name for name in NAMES if name != "isolation" or not (pattern or args)]
    try:
        wanted = re.compile(pattern or "")
    except re.error as e:
        raise LookupError(f"--row {pattern}: {e}") from None
    chosen = [(part, [row for row in part.rows if wanted.search(row.name)]) for part in PARTS if part.name in names]
    chosen = [(part, some) for part, some in chosen if some]
    if not chosen:
        raise LookupError(f"--row {pattern} matches no row of {', '.join(names)}; there are\n{listing(names)}")
    return chosen


def listing(names=None):
    """The names of all rows, a part a paragraph."""
    return "\n".join(f"{part.name}: {part.heading}\n" + "\n".join(f"  {row.name:30}{row.text}" for row in part.rows)
                     for part in PARTS if not names or part.name in names)

"""Xenolith's figures as they are kept in the tree, and the check that none gets worse.

Counts are exact, so one that is more than 3% above what is kept means that the code takes more. The
rows in a Debian guest depend on Debian's packages as well: their file says with which it was taken,
and with others nothing can be said.
"""

import json
import pathlib

from table import shown

HERE = pathlib.Path(__file__).resolve().parent
TOLERANCE = 0.03
FILES = {"paths": HERE / "kept.jsonl", "isolation": HERE / "kept.jsonl", "debian": HERE / "kept-debian.jsonl"}
NOT_KEPT = {"lines"}  # has a limit of its own, and may grow up to it
RENEW = "./xenolith build && bench/run.py --xenolith build/release/xenolith --keep"
HINT = f"A worse figure is kept by '{RENEW} --part PART' in a commit that gives the old, the new and the reason."


class File:
    """{(part, row): figure}, and the versions of Debian's packages behind them."""

    def __init__(self, path):
        self.path, self.figures, self.versions = path, {}, {}
        if path.exists():
            for entry in map(json.loads, path.read_text().splitlines()):
                if "versions" in entry:
                    self.versions = entry["versions"]
                else:
                    self.figures[entry["part"], entry["row"]] = entry["figure"]

    def write(self):
        lines = [{"versions": self.versions}] if self.versions else []
        lines += [{"part": part, "row": row, "figure": figure} for (part, row), figure in self.figures.items()]
        self.path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def keep(self, figures, versions):
        """Figures of other versions are dropped: they cannot be compared."""
        if versions != self.versions:
            self.figures, self.versions = {}, versions
        self.figures |= figures


def differences(kept, here):
    """What `versions` differ in, as text."""
    return "; ".join(f"kept with {name} {kept.get(name, '-')}, here {here.get(name, '-')}"
                     for name in sorted(kept.keys() | here.keys()) if kept.get(name) != here.get(name))


def verdict(now, before):
    """Why a figure is bad; None if it is good."""
    if now is None:
        return "could not be counted"
    if before is None:
        return f"is not kept yet: {RENEW}"
    return f"more than {TOLERANCE:.0%} worse" if now > before * (1 + TOLERANCE) else None


def check_part(part, rows, figures, kept, out):
    """A line a row; gives the number that failed."""
    failed = 0
    for row in rows:
        figure, before = figures.get(row.name), kept.get((part.name, row.name))
        now = getattr(figure, part.by) if figure else None
        bad = verdict(now, before)
        failed += bool(bad)
        out(f"{'FAIL' if bad else 'pass'}  bench {part.name} {row.name}  {shown(now)} {row.unit}, kept {shown(before)}"
            + (f": {bad}" if bad else ""))
    return failed


def versions_of(part):
    if part.name != "debian":
        return {}
    import debian_boot  # wants Domain 0's image, which the other parts do without

    return debian_boot.versions()


def check(chosen, xenolith, images, measure, keep, out=print):
    """Compares Xenolith's figures with those kept in the tree, or with `keep` writes them anew.

    Gives the number that failed."""
    passed = failed = skipped = 0
    for part, rows in chosen:
        rows = [row for row in rows if row.test not in NOT_KEPT]
        file, here = File(FILES[part.name]), versions_of(part)
        if not keep and here != file.versions:
            skipped += len(rows)
            out(f"SKIP  bench {part.name}, {len(rows)} rows: {differences(file.versions, here)}; take them anew with "
                f"'{RENEW} --part {part.name}'")
            continue
        figures, trouble = measure(part, {"xenolith": xenolith}, images, rows)["xenolith"]
        if keep and all(figures.get(row.name) for row in rows):
            file.keep({(part.name, row.name): getattr(figures[row.name], part.by) for row in rows}, here)
            file.write()
        bad = check_part(part, rows, figures, file.figures, out)
        for line in trouble if bad else []:
            out(f"xenolith| {line}")
        failed += bad
        passed += len(rows) - bad
    if failed:
        out(HINT)
    out(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return failed

"""The bench's table: rows, and what they cost on both hypervisors."""

import json
import pathlib
from typing import NamedTuple

HYPERVISORS = ("xenolith", "stock")
LARGE = 100_000_000  # from here on the screen shows millions
COMPARED = {"minimum": "minima", "median": "medians"}


class Figure(NamedTuple):
    """What was read of a row: the least and the middle one of `samples` readings."""

    minimum: float
    median: float
    samples: int


def single(value):
    """Of a row that is read once; None where that failed."""
    return None if value is None else Figure(value, value, 1)


class Row:
    """A line of the table. `goal` is the ratio to reach, `limit` what Xenolith's own figure may be at most;
    `test` says what has to be run for it; `quoted` is stock's figure where it is BASELINE's, not measured."""

    def __init__(self, name, test, text, goal=None, unit="instructions", *, limit=None, quoted=None):
        self.name, self.test, self.text, self.unit = name, test, text, unit
        self.goal, self.limit, self.quoted = goal, limit, quoted

    def met(self, ours, ratio):
        """Whether what is to be reached is; None where there is nothing to reach or no figure."""
        value, most = (ours, self.limit) if self.limit is not None else (ratio, self.goal)
        return None if value is None or most is None else value <= most


def compare(part, row, measured):
    """The row as --json has it; `measured` is {hypervisor: {row's name: Figure, or None}}."""
    figures = {name: measured.get(name, {}).get(row.name) for name in HYPERVISORS}
    samples = [figure.samples for figure in figures.values() if figure]
    if row.quoted is not None:
        figures["stock"] = Figure(row.quoted, row.quoted, 0)
    ours, theirs = (getattr(figure, part.by) if figure else None for figure in figures.values())
    ratio = ours / theirs if ours is not None and theirs else None
    result = {"part": part.name, "row": row.name, "unit": row.unit, "xenolith": ours, "stock": theirs,
              "ratio": None if ratio is None else round(ratio, 3), "goal": row.goal, "limit": row.limit,
              "met": row.met(ours, ratio), "samples": min(samples, default=0)}
    for what in ("minimum", "median"):
        result[what] = {name: getattr(figure, what) if figure else None for name, figure in figures.items()}
    if row.quoted is not None:
        result["quoted"] = ["stock"]
    return result


def shown(value, spec=","):
    if value is None:
        return "-"
    if spec == "," and value >= LARGE:
        return f"{value / 1e6:,.0f} M"
    return format(value, spec)


def line(row, result):
    """A line of the screen's table."""
    text = row.text if row.unit == "instructions" else f"{row.text} ({row.unit})"
    goal = f"<={row.limit:,}" if row.limit is not None else shown(row.goal, ".2f")
    verdict = {True: "met", False: "missed", None: ""}[result["met"]]
    figures = [shown(result[what][name]) for name in HYPERVISORS for what in ("minimum", "median")]
    if row.quoted is not None:
        figures[2:] = ["-", f"{figures[3]}*"]
    numbers = "".join(f"{figure:>11}" for figure in figures)
    ratio = shown(result["ratio"], ".2f")
    return f"{text:52}{result['samples']:>7,}{numbers}{ratio:>7}{goal:>9}  {verdict}".rstrip()


def show(part, rows, measured, out=print):
    """Prints a part's table; gives one dict a row."""
    results = [compare(part, row, measured) for row in rows]
    out(f"{part.name}: {part.heading}")
    out(f"{'xenolith':>75}{'stock':>22}")
    both = f"{'minimum':>11}{'median':>11}" * 2
    out(f"{'operation':52}{'samples':>7}{both}{'ratio':>7}{'goal':>9}")
    for row, result in zip(rows, results):
        out(line(row, result))
    out(f"A ratio is that of the {COMPARED[part.by]}; M: millions.")
    if any(row.quoted is not None for row in rows):
        out("* quoted from BASELINE, not measured here")
    return results


def write_json(path, results):
    """A list of objects, one line a row."""
    pathlib.Path(path).write_text("[\n" + ",\n".join(json.dumps(result) for result in results) + "\n]\n")


def complete(results, measured):
    """Whether every figure of the hypervisors that were measured is there."""
    return all(result[name] is not None for result in results for name in measured)

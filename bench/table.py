"""The bench's table: rows, and what they cost on both hypervisors."""

import json
import pathlib


class Row:
    """A line of the table: `goal` is the ratio to reach (BASELINE), None where there is none."""

    def __init__(self, name, test, text, goal=None, unit="instructions"):
        self.name, self.test, self.text, self.goal, self.unit = name, test, text, goal, unit


def shown(value, spec):
    return "-" if value is None else format(value, spec)


def show(rows, measured, out=print):
    """Prints the table; returns one dict a row.

    `measured` is {"xenolith" or "stock": {row's name: figure}}; a figure that could not be taken is
    missing or None."""
    out(f"{'operation':54} {'xenolith':>12} {'stock':>13} {'ratio':>6} {'goal':>5}")
    results = []
    for row in rows:
        ours, theirs = (measured.get(n, {}).get(row.name) for n in ("xenolith", "stock"))
        ratio = round(ours / theirs, 3) if ours is not None and theirs else None
        goal = round(row.goal, 2) if row.goal else None
        mark = "" if ratio is None or goal is None else "  met" if ratio <= goal else "  missed"
        unit = "" if row.unit == "instructions" else f" ({row.unit})"
        out(f"{row.text + unit:54} {shown(ours, ','):>12} {shown(theirs, ','):>13} "
            f"{shown(ratio, '.2f'):>6} {shown(goal, '.2f'):>5}{mark}")
        results.append({"row": row.name, "xenolith": ours, "stock": theirs, "ratio": ratio,
                        "goal": goal})
    return results


def write_json(path, results):
    """One object a line, one line a row."""
    pathlib.Path(path).write_text("".join(json.dumps(result) + "\n" for result in results))


def complete(results, measured):
    """Whether every figure of the hypervisors that were measured is there."""
    return all(result[name] is not None for result in results for name in measured)

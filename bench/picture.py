"""The table as a picture for the README: what an operation takes on Xenolith, where stock Xen takes 1."""

from xml.sax.saxutils import escape

NAMES, BARS, END, ROW, TOP = 330, 460, 70, 20, 54  # widths, a row's height, and the rows' place, in pixels
LONGEST = 1.15  # where a bar ends that would be longer
STYLE = """text { font: 12px sans-serif; fill: #24292f } .head { font-weight: bold } .small { fill: #57606a }
.good { fill: #2da44e } .missed { fill: #bf8700 } .worse { fill: #cf222e } .goal { stroke: #24292f; stroke-width: 2 }
.line { stroke: #8c959f; stroke-dasharray: 3 3 } .ground { fill: #ffffff }"""


def _kind(ratio: float, goal: float | None) -> str:
    if ratio > 1:
        return "worse"
    return "good" if goal is None or ratio <= goal else "missed"


def draw(rows: list[tuple[str, float | None, float | None]]) -> str:
    """SVG of (name, ratio to stock, goal) each; rows without a ratio are left out."""
    rows = [row for row in rows if row[1] is not None]
    height = TOP + len(rows) * ROW + 12

    def x(ratio: float) -> str:
        return f"{NAMES + BARS * min(ratio, LONGEST) / LONGEST:.1f}"

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{NAMES + BARS + END}" height="{height}" role="img" '
           'aria-label="Instructions on Xenolith as a part of those on stock Xen 4.17">', f"<style>{STYLE}</style>",
           f'<rect class="ground" width="{NAMES + BARS + END}" height="{height}"/>',
           f'<text class="head" x="8" y="18">Instructions, stock Xen 4.17 = 1</text>',
           f'<text class="small" x="{NAMES}" y="18">shorter is better; the black mark is the goal, green reaches it</text>']
    for tick in (0, 0.25, 0.5, 0.75, 1):
        out.append(f'<line class="line" x1="{x(tick)}" x2="{x(tick)}" y1="{TOP - 12}" y2="{height - 8}"/>')
        out.append(f'<text class="small" x="{x(tick)}" y="{TOP - 16}" text-anchor="middle">{tick:g}</text>')
    for n, (name, ratio, goal) in enumerate(rows):
        y = TOP + n * ROW
        out.append(f'<text x="{NAMES - 8}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        width = float(x(ratio)) - NAMES
        out.append(f'<rect class="{_kind(ratio, goal)}" x="{NAMES}" y="{y - 7}" width="{width:.1f}" height="14"/>')
        if goal is not None:
            out.append(f'<line class="goal" x1="{x(goal)}" x2="{x(goal)}" y1="{y - 9}" y2="{y + 9}"/>')
        beside_mark = goal is not None and ratio < goal < ratio + 0.1
        out.append(f'<text x="{float(x(goal if beside_mark else ratio)) + 6:.1f}" y="{y + 4}">{ratio:.2f}</text>')
    return "\n".join(out) + "\n</svg>\n"

"""The tables as a picture for the README: what an operation takes on Xenolith, where stock Xen takes 1."""

from typing import NamedTuple
from xml.sax.saxutils import escape

# Pixels: widths, a row's height, where the first heading is, a heading's height.
NAMES, BARS, END, ROW, TOP, HEAD = 345, 460, 70, 20, 54, 30
LONGEST = 1.15  # where a bar ends that would be longer
STYLE = """text { font: 12px sans-serif; fill: #24292f } .head { font-weight: bold } .small { fill: #57606a }
.good { fill: #2da44e } .missed { fill: #bf8700 } .worse { fill: #cf222e } .goal { stroke: #24292f; stroke-width: 2 }
.line { stroke: #8c959f; stroke-dasharray: 3 3 } .ground { fill: #ffffff }"""


class Bar(NamedTuple):
    name: str
    ratio: float | None  # to stock
    goal: float | None  # a ratio as well; None where there is none, or where it is no ratio
    met: bool | None


def _kind(bar: Bar) -> str:
    if bar.ratio > 1:
        return "worse"
    return "missed" if bar.met is False else "good"


def _x(ratio: float) -> str:
    return f"{NAMES + BARS * min(ratio, LONGEST) / LONGEST:.1f}"


def _bar(bar: Bar, y: int) -> list[str]:
    out = [f'<text x="{NAMES - 8}" y="{y + 4}" text-anchor="end">{escape(bar.name)}</text>',
           f'<rect class="{_kind(bar)}" x="{NAMES}" y="{y - 7}" '
           f'width="{float(_x(bar.ratio)) - NAMES:.1f}" height="14"/>']
    if bar.goal is not None:
        out.append(f'<line class="goal" x1="{_x(bar.goal)}" x2="{_x(bar.goal)}" y1="{y - 9}" y2="{y + 9}"/>')
    beside_mark = bar.goal is not None and bar.ratio < bar.goal < bar.ratio + 0.1
    end = float(_x(bar.goal if beside_mark else bar.ratio))
    out.append(f'<text x="{end + 6:.1f}" y="{y + 4}">{bar.ratio:.2f}</text>')
    return out


def draw(groups: list[tuple[str, list[Bar]]]) -> str:
    """SVG of groups of bars, each with its heading; bars without a ratio, and groups without bars, are left out."""
    groups = [(heading, [bar for bar in bars if bar.ratio is not None]) for heading, bars in groups]
    groups = [(heading, bars) for heading, bars in groups if bars]
    height = TOP + sum(HEAD + len(bars) * ROW for _, bars in groups) + 12
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{NAMES + BARS + END}" height="{height}" role="img" '
           'aria-label="Instructions on Xenolith as a part of those on stock Xen 4.17">', f"<style>{STYLE}</style>",
           f'<rect class="ground" width="{NAMES + BARS + END}" height="{height}"/>',
           '<text class="head" x="8" y="18">Instructions, stock Xen 4.17 = 1</text>',
           f'<text class="small" x="{NAMES}" y="18">'
           'shorter is better; the black mark is the goal, green reaches it</text>']
    for tick in (0, 0.25, 0.5, 0.75, 1):
        out.append(f'<line class="line" x1="{_x(tick)}" x2="{_x(tick)}" y1="{TOP - 12}" y2="{height - 8}"/>')
        out.append(f'<text class="small" x="{_x(tick)}" y="{TOP - 16}" text-anchor="middle">{tick:g}</text>')
    y = TOP
    for heading, bars in groups:
        out.append(f'<text class="head" x="8" y="{y + 8}">{escape(heading)}</text>')
        y += HEAD
        for bar in bars:
            out += _bar(bar, y)
            y += ROW
    return "\n".join(out) + "\n</svg>\n"

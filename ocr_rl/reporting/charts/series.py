"""Plots of several series, one for each algorithm, as inline SVG: numbers in, markup out.

An algorithm has one look in every plot: a colour (Okabe and Ito's, see report.css), a dash pattern and a marker. The
marker alone tells fourteen apart, so that a plot reads without colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from ocr_rl.reporting.charts.axes import axis_ticks, number

TONES = 7
"""Colours, the classes tone-0 to tone-6 of report.css."""
MOST_MARKERS = 6
"""Markers on a line; the others are left out, so that lines are seen between them."""
LONGEST_LABEL = 16
"""Characters of a name beside its line."""

_DASHES = ("", "7 3", "2 2.5", "9 3 2 3")
_SHAPES = (
    "M-3.3,0a3.3,3.3 0 1,0 6.6,0a3.3,3.3 0 1,0 -6.6,0Z",  # circle
    "M-3,-3H3V3H-3Z",  # square
    "M0,-4.2L4,3H-4Z",  # triangle
    "M0,-4.5L4.5,0L0,4.5L-4.5,0Z",  # diamond
    "M0,4.2L4,-3H-4Z",  # triangle, upside down
    "M-1.3,-4H1.3V-1.3H4V1.3H1.3V4H-1.3V1.3H-4V-1.3H-1.3Z",  # cross
    "M-3.6,-3.8H3.6L-3.6,3.8H3.6Z",  # hourglass
)
_LEFT, _TOP, _BOTTOM = 42, 22, 32
"""Room for the numbers at the axes and their names."""
_LETTER, _LINE = 5.8, 11.0
"""Pixels of a letter and of a line of labels."""


Point2 = tuple[float, float]
"""(x, y) in a picture."""


class Look(NamedTuple):
    """How a series is drawn: the number of its colour, an SVG dash pattern ("": solid), a marker, filled or hollow."""

    tone: int
    dash: str
    shape: str
    hollow: bool


LOOKS = tuple(
    Look((i + 3 * half) % TONES, _DASHES[(i + 2 * half) % len(_DASHES)], shape, bool(half))
    for half in (0, 1)
    for i, shape in enumerate(_SHAPES, half * len(_SHAPES))
)
"""The second seven have the markers of the first, hollow, in other colours and dashes; a fifteenth begins again."""


class Reading(NamedTuple):
    """A value at x, with the lowest and the highest of the seeds."""

    x: float
    value: float
    low: float
    high: float


class Series(NamedTuple):
    """A line; `look` is its place in LOOKS."""

    name: str
    look: int
    readings: Sequence[Reading]


class Estimate(NamedTuple):
    """A value with its interval, for `forest`."""

    name: str
    look: int
    value: float
    interval: Sequence[float] | None


def mean_over_seeds(curves: Mapping[str, Sequence[Mapping[str, Any]]], x: str, y: str) -> list[Reading]:
    """The mean of `y` at the mean of `x` over seeds, row by row of those that have both as finite numbers.

    Seeds under a budget of time take different numbers of steps: of the longer ones as many rows are taken as the
    shortest has, evenly, with the first and the last.
    """
    found = [
        [(row[x], row[y]) for row in rows if _finite(row.get(x)) and _finite(row.get(y))] for rows in curves.values()
    ]
    found = [rows for rows in found if rows]
    count = min(map(len, found), default=0)
    readings = []
    for k in range(count):
        own = [rows[round(k * (len(rows) - 1) / max(1, count - 1))] for rows in found]
        values = [value for _, value in own]
        readings.append(Reading(_mean([at for at, _ in own]), _mean(values), min(values), max(values)))
    return readings


def smoothed(readings: Sequence[Reading], window: int) -> list[Reading]:
    """At each reading the mean of the `window` readings around it, fewer at both ends; without a range."""
    half = window // 2
    found = []
    for i, reading in enumerate(readings):
        value = _mean([near.value for near in readings[max(0, i - half) : i + half + 1]])
        found.append(Reading(reading.x, value, value, value))
    return found


def plot(
    name: str,
    x_name: str,
    series: Sequence[Series],
    *,
    share: bool = False,
    labelled: bool = True,
    size: tuple[int, int] = (360, 230),
) -> str:
    """An SVG picture: a line for each series, the range of its seeds pale behind it, its name at its end.

    Readings are joined in their order; a series of one is a marker, one of none is left out, and without any there
    is no picture but "". Names that find no room beside each other are left to the `legend`. The value axis of a
    `share` spans a tenth at least.
    """
    series = [one for one in series if one.readings]
    if not series:
        return ""
    everything = [reading for one in series for reading in one.readings]
    ticks = axis_ticks(min(r.low for r in everything), max(r.high for r in everything), share)
    first, last = min(r.x for r in everything), max(r.x for r in everything)
    width, height = size
    right = 12 + _LETTER * max(len(_short(one.name)) for one in series) if labelled else 12

    def x(at: float) -> float:
        part = (at - first) / (last - first) if last > first else 0.5
        return round(_LEFT + part * (width - _LEFT - right), 1)

    def y(value: float) -> float:
        part = (value - ticks[0]) / (ticks[-1] - ticks[0])
        return round(height - _BOTTOM - part * (height - _TOP - _BOTTOM), 1)

    parts = [_opening(size, alt_text(name, x_name, series)), f'<text class="title" x="0" y="10">{escape(name)}</text>']
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{_LEFT},{y(tick)} H{width - right:g}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y(tick) + 3.5:g}" text-anchor="end">{number(tick)}</text>')
    for tick in _ticks_within(first, last):
        parts.append(f'<path class="grid" d="M{x(tick)},{height - _BOTTOM} v4"/>')
        parts.append(f'<text x="{x(tick)}" y="{height - _BOTTOM + 14}" text-anchor="middle">{number(tick)}</text>')
    middle = (x(first) + x(last)) / 2
    parts.append(f'<text class="axis" x="{middle:g}" y="{height - 5}" text-anchor="middle">{escape(x_name)}</text>')
    faint = round(min(0.15, max(0.05, 0.6 / len(series))), 2)  # many ranges on each other shall not hide the lines
    places = [[(x(r.x), y(r.value)) for r in one.readings] for one in series]
    for one in series:
        if len(one.readings) > 1 and any(r.low < r.high for r in one.readings):
            edge = [(x(r.x), y(r.high)) for r in one.readings] + [(x(r.x), y(r.low)) for r in one.readings[::-1]]
            tone = f"tone-{_look(one.look).tone}"
            parts.append(f'<path class="range {tone}" fill-opacity="{faint}" d="{_path(edge)}Z"/>')
    for one, line in zip(series, places, strict=True):
        parts.append(_line(line, one.look))
    if labelled:
        ends = [(line[-1][0] + 11, line[-1][1], _short(one.name)) for one, line in zip(series, places, strict=True)]
        for one, (at, wanted, label), found in zip(series, ends, label_places(ends, 8, height - _BOTTOM), strict=True):
            if found is None:
                continue
            tone = f"tone-{_look(one.look).tone}"
            if abs(found - wanted) > 1:
                parts.append(f'<path class="leader {tone}" d="M{at - 6:g},{wanted} L{at - 1:g},{found:g}"/>')
            parts.append(f'<text class="name {tone}" x="{at:g}" y="{found + 3.5:g}">{escape(label)}</text>')
    return "".join([*parts, "</svg>"])


def alt_text(name: str, x_name: str, series: Iterable[Series]) -> str:
    """The plot for those who cannot see it: "CER over completions: grpo 0.29 at 0, 0.1 at 6,144; sft ..."."""
    lines = []
    for one in series:
        ends = dict.fromkeys([one.readings[0], one.readings[-1]])
        lines.append(f"{one.name} {', '.join(f'{number(r.value)} at {number(r.x)}' for r in ends)}")
    return f"{name} over {x_name}: {'; '.join(lines)}"


def label_places(ends: Sequence[tuple[float, float, str]], top: float, bottom: float) -> list[float | None]:
    """The y of the labels that are to begin at (x, y): as near as can be, in the order of their lines, without overlap.

    None for those that stand above each other and find no room between top and bottom.
    """
    found: list[float | None] = [None] * len(ends)
    columns: list[list[int]] = []
    reach = -math.inf
    for i in sorted(range(len(ends)), key=lambda i: ends[i][0]):
        if ends[i][0] > reach:
            columns.append([])
        columns[-1].append(i)
        reach = max(reach, ends[i][0] + 5 + _LETTER * len(ends[i][2]))
    for column in columns:
        column.sort(key=lambda i: ends[i][1])
        for i, place in zip(column, spread([ends[i][1] for i in column], _LINE, top, bottom), strict=False):
            found[i] = place
    return found


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending numbers moved as little as can be (least squares) to lie `gap` apart in [low, high]; [] without room.

    Without the gaps this is isotonic regression: neighbours that are too near share their mean place.
    """
    if (len(wanted) - 1) * gap > high - low:
        return []
    blocks: list[tuple[float, int]] = []
    for i, place in enumerate(wanted):
        block = (place - i * gap, 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, size = blocks.pop()
            block = ((mean * size + block[0] * block[1]) / (size + block[1]), size + block[1])
        blocks.append(block)
    starts = [mean for mean, size in blocks for _ in range(size)]
    most = high - (len(wanted) - 1) * gap
    return [min(max(start, low), most) + i * gap for i, start in enumerate(starts)]


def legend(looks: Mapping[str, int]) -> str:
    """The names of all series with their lines; `looks` are places in LOOKS. HTML."""
    names = "".join(f"<li>{swatch(look)}{escape(name)}</li>" for name, look in looks.items())
    return f'<ul class="legend">{names}</ul>\n' if names else ""


def swatch(look: int) -> str:
    """A piece of a series' line with its marker, for a legend or a table."""
    line = _line([(1, 6), (29, 6)], look, markers=[(15, 6)])
    return f'<svg class="swatch" viewBox="0 0 30 12" aria-hidden="true">{line}</svg>'


def forest(name: str, estimates: Sequence[Estimate], start: float | None = None, *, share: bool = True) -> str:
    """An SVG picture: a row for each estimate with its interval, on one axis; a dashed line at the value of `start`."""
    if not estimates:
        return ""
    values = [edge for one in estimates for edge in (one.value, *(one.interval or ()))]
    ticks = axis_ticks(min(values), max(values), share) if start is None else axis_ticks(*_ends(values, start), share)
    row, width, top = 17, 360, 32
    height = top + row * len(estimates) + 20
    left = 12 + _LETTER * max(len(_short(one.name)) for one in estimates)

    def x(value: float) -> float:
        return round(left + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (width - left - 16), 1)

    words = "; ".join(f"{one.name} {number(one.value)}{_between(one.interval)}" for one in estimates)
    label = f"{name}: {words}" + ("" if start is None else f"; start {number(start)}")
    bottom = height - 20
    parts = [_opening((width, height), label), f'<text class="title" x="0" y="10">{escape(name)}</text>']
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{x(tick)},{top} V{bottom}"/>')
        parts.append(f'<text x="{x(tick)}" y="{height - 6}" text-anchor="middle">{number(tick)}</text>')
    if start is not None:
        parts.append(f'<path class="start" d="M{x(start)},{top - 4} V{bottom}"/>')
        parts.append(f'<text class="axis" x="{x(start)}" y="{top - 8}" text-anchor="middle">start</text>')
    for i, one in enumerate(estimates):
        y = top + row * (i + 0.5)
        if one.interval is not None:
            low, high = one.interval
            bar = f'<path d="M{x(low)},{y:g} H{x(high)} M{x(low)},{y - 3:g} v6 M{x(high)},{y - 3:g} v6"/>'
            parts.append(f'<g class="trace tone-{_look(one.look).tone}">{bar}</g>')
        parts.append(_line([], one.look, markers=[(x(one.value), y)]))
        parts.append(f'<text class="axis" x="0" y="{y + 3.5:g}">{escape(_short(one.name))}</text>')
    return "".join([*parts, "</svg>"])


def _ends(values: Sequence[float], other: float) -> tuple[float, float]:
    return min(*values, other), max(*values, other)


def _between(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f" ({number(interval[0])} to {number(interval[1])})"


def _opening(size: tuple[int, int], label: str) -> str:
    return f'<svg class="curve" viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{escape(label)}">'


def _line(
    places: Sequence[tuple[float, float]], look: int, markers: Sequence[tuple[float, float]] | None = None
) -> str:
    """A line with some of its places marked, the last one always; which ones differs by look, so that few coincide."""
    own = _look(look)
    if markers is None:
        every = max(1, math.ceil(len(places) / MOST_MARKERS))
        markers = [place for i, place in enumerate(places) if i % every == look % every or i == len(places) - 1]
    dash = f' stroke-dasharray="{own.dash}"' if own.dash else ""
    line = f'<path{dash} d="{_path(places)}"/>' if len(places) > 1 else ""
    kind = "mark hollow" if own.hollow else "mark"
    marked = "".join(f'<path class="{kind}" transform="translate({x:g},{y:g})" d="{own.shape}"/>' for x, y in markers)
    return f'<g class="trace tone-{own.tone}">{line}{marked}</g>'


def _path(places: Sequence[Point2]) -> str:
    return "M" + " ".join(f"{x:g},{y:g}" for x, y in places)


def _look(look: int) -> Look:
    return LOOKS[look % len(LOOKS)]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_LABEL else name[: LONGEST_LABEL - 1] + "…"


def _ticks_within(first: float, last: float) -> list[float]:
    """Round numbers between both; of a single place that place."""
    return [tick for tick in axis_ticks(first, last) if first <= tick <= last] if first < last else [first]


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

"""Plots of several series, one for each algorithm, as inline SVG: numbers in, markup out.

An algorithm has one look in every plot: a colour (Okabe and Ito's, see report.css), a dash pattern and a marker. The
markers alone distinguish fourteen series, so that a plot can be read without colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from ocr_rl.reporting.charts.axes import Frame, axis_ticks, first_and_last, number, running_mean, svg

TONES = 7
"""Number of colours: the classes tone-0 to tone-6 of report.css."""
MAX_MARKERS = 6
"""Markers on a line; the others are left out, so that the line between them can be seen."""
MAX_LABEL = 16
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
"""The second seven have the markers of the first, hollow, in other colours and dashes; the fifteenth is the first."""


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

    With a time budget, seeds take different numbers of steps: from the longer ones as many rows are taken as the
    shortest has, evenly spaced, the first and the last among them.
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
    """The running mean of the readings, without a range."""
    means = running_mean([reading.value for reading in readings], window)
    return [Reading(reading.x, mean, mean, mean) for reading, mean in zip(readings, means, strict=True)]


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

    Readings are joined in order; a series of one reading is a marker, one without readings is left out, and without
    any series the picture is "". Names that do not fit beside each other are left to the `legend`. The value axis of a
    `share` spans at least a tenth.
    """
    series = [one for one in series if one.readings]
    if not series:
        return ""
    everything = [reading for one in series for reading in one.readings]
    right = 12 + _LETTER * max(len(_short(one.name)) for one in series) if labelled else 12
    frame = Frame(
        size,
        (_LEFT, right, _TOP, _BOTTOM),
        min(r.x for r in everything),
        max(r.x for r in everything),
        axis_ticks(min(r.low for r in everything), max(r.high for r in everything), share),
    )
    lines = [[(frame.x(r.x), frame.y(r.value)) for r in one.readings] for one in series]
    parts = [_title(name), *frame.value_axis(), *_x_axis(frame, x_name), *_ranges(frame, series)]
    parts += [_line(line, one.look) for one, line in zip(series, lines, strict=True)]
    if labelled:
        parts += _names(series, [line[-1] for line in lines], size[1] - _BOTTOM)
    return svg(size, alt_text(name, x_name, series), parts)


def _x_axis(frame: Frame, name: str) -> Iterator[str]:
    height = frame.size[1]
    for tick in _ticks_within(frame.first, frame.last):
        yield f'<path class="grid" d="M{frame.x(tick)},{height - _BOTTOM} v4"/>'
        yield f'<text x="{frame.x(tick)}" y="{height - _BOTTOM + 14}" text-anchor="middle">{number(tick)}</text>'
    middle = (frame.x(frame.first) + frame.x(frame.last)) / 2
    yield f'<text class="axis" x="{middle:g}" y="{height - 5}" text-anchor="middle">{escape(name)}</text>'


def _ranges(frame: Frame, series: Sequence[Series]) -> Iterator[str]:
    """Bands from the lowest to the highest of the seeds."""
    faint = round(min(0.15, max(0.05, 0.6 / len(series))), 2)  # many bands on top of each other must not hide the lines
    for one in series:
        if len(one.readings) > 1 and any(r.low < r.high for r in one.readings):
            edge = [(frame.x(r.x), frame.y(r.high)) for r in one.readings]
            edge += [(frame.x(r.x), frame.y(r.low)) for r in one.readings[::-1]]
            yield f'<path class="range {_tone(one.look)}" fill-opacity="{faint}" d="{_path(edge)}Z"/>'


def _names(series: Sequence[Series], ends: Sequence[Point2], bottom: float) -> Iterator[str]:
    """The name of each series beside the end of its line, joined to it by a short line if it had to move."""
    labels = [(x + 11, y, _short(one.name)) for one, (x, y) in zip(series, ends, strict=True)]
    for one, (x, wanted, label), y in zip(series, labels, label_places(labels, 8, bottom), strict=True):
        if y is None:
            continue
        if abs(y - wanted) > 1:
            yield f'<path class="leader {_tone(one.look)}" d="M{x - 6:g},{wanted} L{x - 1:g},{y:g}"/>'
        yield f'<text class="name {_tone(one.look)}" x="{x:g}" y="{y + 3.5:g}">{escape(label)}</text>'


def alt_text(name: str, x_name: str, series: Iterable[Series]) -> str:
    """The plot in words: "CER over completions: grpo 0.29 at 0, 0.1 at 6,144; sft ..."."""
    lines = [f"{one.name} {first_and_last([(r.x, r.value) for r in one.readings])}" for one in series]
    return f"{name} over {x_name}: {'; '.join(lines)}"


def label_places(ends: Sequence[tuple[float, float, str]], top: float, bottom: float) -> list[float | None]:
    """The y of labels (x, y, text): as near to the wanted y as possible, in the order of the lines, without overlap.

    None for labels above each other that do not fit between top and bottom.
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
    """Ascending numbers moved as little as possible (least squares) to lie `gap` apart in [low, high]; [] without room.

    With the gaps subtracted this is isotonic regression: neighbours that are too near share their mean place.
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
    limit = high - (len(wanted) - 1) * gap
    return [min(max(start, low), limit) + i * gap for i, start in enumerate(starts)]


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
    values += [] if start is None else [start]
    ticks = axis_ticks(min(values), max(values), share)
    row, width, top = 17, 360, 32
    height = top + row * len(estimates) + 20
    left = 12 + _LETTER * max(len(_short(one.name)) for one in estimates)
    frame = Frame((width, height), (left, 16, top, 20), ticks[0], ticks[-1], ticks)
    bottom = height - 20
    parts = [_title(name)]
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{frame.x(tick)},{top} V{bottom}"/>')
        parts.append(f'<text x="{frame.x(tick)}" y="{height - 6}" text-anchor="middle">{number(tick)}</text>')
    if start is not None:
        parts.append(f'<path class="start" d="M{frame.x(start)},{top - 4} V{bottom}"/>')
        parts.append(f'<text class="axis" x="{frame.x(start)}" y="{top - 8}" text-anchor="middle">start</text>')
    parts += [_estimate(frame, one, top + row * (i + 0.5)) for i, one in enumerate(estimates)]
    words = "; ".join(f"{one.name} {number(one.value)}{_between(one.interval)}" for one in estimates)
    return svg(frame.size, f"{name}: {words}" + ("" if start is None else f"; start {number(start)}"), parts)


def _estimate(frame: Frame, one: Estimate, y: float) -> str:
    bar = ""
    if one.interval is not None:
        low, high = map(frame.x, one.interval)
        path = f"M{low},{y:g} H{high} M{low},{y - 3:g} v6 M{high},{y - 3:g} v6"
        bar = f'<g class="trace {_tone(one.look)}"><path d="{path}"/></g>'
    label = f'<text class="axis" x="0" y="{y + 3.5:g}">{escape(_short(one.name))}</text>'
    return bar + _line([], one.look, markers=[(frame.x(one.value), y)]) + label


def _between(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f" ({number(interval[0])} to {number(interval[1])})"


def _title(name: str) -> str:
    return f'<text class="title" x="0" y="10">{escape(name)}</text>'


def _line(
    places: Sequence[tuple[float, float]], look: int, markers: Sequence[tuple[float, float]] | None = None
) -> str:
    """A line with markers at some places, always at the last; which ones depends on the look, so that few coincide."""
    own = _look(look)
    if markers is None:
        every = max(1, math.ceil(len(places) / MAX_MARKERS))
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


def _tone(look: int) -> str:
    return f"tone-{_look(look).tone}"


def _short(name: str) -> str:
    return name if len(name) <= MAX_LABEL else name[: MAX_LABEL - 1] + "…"


def _ticks_within(first: float, last: float) -> list[float]:
    """Round numbers between both; the place itself if both are equal."""
    return [tick for tick in axis_ticks(first, last) if first <= tick <= last] if first < last else [first]


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

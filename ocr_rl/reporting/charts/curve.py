"""Curves as inline SVG: numbers in, markup out. Colours come from the style sheet around it (report.css)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from ocr_rl.reporting.charts.axes import SMOOTHED_FROM, Point, axis_ticks, number, running_mean

_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 10, 8, 20
"""Room for the numbers at the axes."""


def curve(
    name: str,
    line: Sequence[Point],
    held_out: Sequence[Point] = (),
    *,
    share: bool = False,
    size: tuple[int, int] = (320, 170),
) -> str:
    """An SVG picture of a value over steps: training as a line, held-out evaluations as dots with their intervals.

    A step without a value, or with one that is no finite number, is a gap in the line; without any value at all
    there is no picture but "". With SMOOTHED_FROM steps or more the line is pale and its running mean over a tenth of
    the steps is drawn over it. The axis of a `share` spans a tenth at least: noise shall not fill the frame.
    """
    line = [point for point in line if math.isfinite(point.value)]
    held_out = [point for point in held_out if math.isfinite(point.value)]
    everything = [*line, *held_out]
    if not everything:
        return ""
    values = [point.value for point in everything] + [edge for point in held_out for edge in point.interval or ()]
    ticks = axis_ticks(min(values), max(values), share)
    width, height = size
    first, last = min(point.step for point in everything), max(point.step for point in everything)

    def x(step: float) -> float:
        share = (step - first) / (last - first) if last > first else 0.5
        return round(_LEFT + share * (width - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        share = (value - ticks[0]) / (ticks[-1] - ticks[0])
        return round(height - _BOTTOM - share * (height - _TOP - _BOTTOM), 1)

    def path(points: Sequence[Point], kind: str) -> str:
        runs = [f"M{' '.join(f'{x(p.step)},{y(p.value)}' for p in run)}" for run in unbroken(points) if len(run) > 1]
        dots = [
            f'<circle class="{kind}" cx="{x(run[0].step)}" cy="{y(run[0].value)}" r="1.5"/>'
            for run in unbroken(points)
            if len(run) == 1
        ]
        return (f'<path class="{kind}" d="{"".join(runs)}"/>' if runs else "") + "".join(dots)

    smooth = len(line) >= SMOOTHED_FROM
    label = escape(alt_text(name, line, held_out))
    parts = [f'<svg class="curve" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">']
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{_LEFT},{y(tick)} H{width - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y(tick) + 3.5}" text-anchor="end">{number(tick)}</text>')
    for step, anchor in ((first, "start"), (last, "end")) if last > first else ((first, "middle"),):
        parts.append(f'<text x="{x(step)}" y="{height - 5}" text-anchor="{anchor}">{number(step)}</text>')
    parts.append(path(line, "raw" if smooth else "line"))
    if smooth:
        parts.append(path(running_mean(line, max(3, len(line) // 10)), "line"))
    for point in held_out:
        if point.interval is not None:
            low, high = point.interval
            parts.append(f'<path class="interval" d="M{x(point.step)},{y(low)} V{y(high)}"/>')
        parts.append(f'<circle class="held-out" cx="{x(point.step)}" cy="{y(point.value)}" r="3.5"/>')
    return "".join([*parts, "</svg>"])


def alt_text(name: str, line: Sequence[Point], held_out: Sequence[Point]) -> str:
    """The curve for those who cannot see it: "cer: 0.3 at step 1, 0.1 at step 60; held out 0.29 at step 0"."""

    def ends(points: Sequence[Point]) -> str:
        return ", ".join(
            f"{number(point.value)} at step {number(point.step)}" for point in dict.fromkeys([points[0], points[-1]])
        )

    parts = [ends(line)] if line else []
    parts += [f"held out {ends(held_out)}"] if held_out else []
    return f"{name}: {'; '.join(parts)}"


def unbroken(points: Sequence[Point]) -> list[list[Point]]:
    """The points cut where a step is missing."""
    runs: list[list[Point]] = []
    for point in points:
        if not runs or point.step > runs[-1][-1].step + 1:
            runs.append([])
        runs[-1].append(point)
    return runs

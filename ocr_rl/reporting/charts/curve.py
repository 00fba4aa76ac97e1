"""Curves as inline SVG: numbers in, markup out. Colours come from the style sheet around it (report.css)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ocr_rl.reporting.charts.axes import Frame, axis_ticks, first_and_last, number, running_mean, smoothing_window, svg

_MARGINS = (42, 10, 8, 20)
"""Left, right, top, bottom: room for the numbers at the axes."""


class Point(NamedTuple):
    """A value at a step, with its interval if it has one."""

    step: float
    value: float
    interval: tuple[float, float] | None = None


def curve(
    name: str,
    line: Sequence[Point],
    held_out: Sequence[Point] = (),
    *,
    share: bool = False,
    size: tuple[int, int] = (320, 170),
) -> str:
    """An SVG picture of a value over steps: training as a line, held-out evaluations as dots with their intervals.

    A step whose value is missing or not finite is a gap in the line; without any value the picture is "". A line of
    SMOOTHED_FROM steps or more is pale, with its running mean over a tenth of the steps on top. The axis of a `share`
    spans at least a tenth, so that noise does not fill the frame.
    """
    line = [point for point in line if math.isfinite(point.value)]
    held_out = [point for point in held_out if math.isfinite(point.value)]
    everything = [*line, *held_out]
    if not everything:
        return ""
    values = [point.value for point in everything] + [edge for point in held_out for edge in point.interval or ()]
    steps = [point.step for point in everything]
    frame = Frame(size, _MARGINS, min(steps), max(steps), axis_ticks(min(values), max(values), share))
    parts = [*frame.value_axis(), *_step_axis(frame)]
    window = smoothing_window(len(line))
    if window == 1:
        parts.append(_path(frame, line, "line"))
    else:
        means = running_mean([point.value for point in line], window)
        smooth = [Point(point.step, mean) for point, mean in zip(line, means, strict=True)]
        parts += [_path(frame, line, "raw"), _path(frame, smooth, "line")]
    parts += [_dot(frame, point) for point in held_out]
    return svg(size, alt_text(name, line, held_out), parts)


def _step_axis(frame: Frame) -> list[str]:
    """The first step and the last."""
    ends = [(frame.first, "middle")]
    if frame.last > frame.first:
        ends = [(frame.first, "start"), (frame.last, "end")]
    below = frame.size[1] - 5
    return [
        f'<text x="{frame.x(step)}" y="{below}" text-anchor="{anchor}">{number(step)}</text>' for step, anchor in ends
    ]


def _path(frame: Frame, points: Sequence[Point], kind: str) -> str:
    """A line through the points, with gaps; a point between two gaps is a dot."""
    lines, dots = "", ""
    for run in unbroken(points):
        places = [(frame.x(point.step), frame.y(point.value)) for point in run]
        if len(run) > 1:
            lines += "M" + " ".join(f"{x},{y}" for x, y in places)
        else:
            dots += f'<circle class="{kind}" cx="{places[0][0]}" cy="{places[0][1]}" r="1.5"/>'
    return (f'<path class="{kind}" d="{lines}"/>' if lines else "") + dots


def _dot(frame: Frame, point: Point) -> str:
    """A held-out evaluation with its interval."""
    x, bar = frame.x(point.step), ""
    if point.interval is not None:
        low, high = point.interval
        bar = f'<path class="interval" d="M{x},{frame.y(low)} V{frame.y(high)}"/>'
    return f'{bar}<circle class="held-out" cx="{x}" cy="{frame.y(point.value)}" r="3.5"/>'


def alt_text(name: str, line: Sequence[Point], held_out: Sequence[Point]) -> str:
    """The curve in words: "cer: 0.3 at step 1, 0.1 at step 60; held out 0.29 at step 0"."""
    parts = [
        label + first_and_last([(point.step, point.value) for point in points], "step ")
        for label, points in (("", line), ("held out ", held_out))
        if points
    ]
    return f"{name}: {'; '.join(parts)}"


def unbroken(points: Sequence[Point]) -> list[list[Point]]:
    """The points, cut where a step is missing."""
    runs: list[list[Point]] = []
    for point in points:
        if not runs or point.step > runs[-1][-1].step + 1:
            runs.append([])
        runs[-1].append(point)
    return runs

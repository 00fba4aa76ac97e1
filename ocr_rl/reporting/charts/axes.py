"""Ticks, numbers and smoothing that all charts share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

SMOOTHED_FROM = 20
"""Steps from which a running mean is drawn over the noise."""


class Point(NamedTuple):
    """A value at a step, with its interval where there is one."""

    step: float
    value: float
    interval: tuple[float, float] | None = None


def running_mean(points: Sequence[Point], window: int) -> list[Point]:
    """At each point the mean of the `window` points around it; of fewer at both ends."""
    half = window // 2
    means = []
    for i, point in enumerate(points):
        near = points[max(0, i - half) : i + half + 1]
        means.append(Point(point.step, sum(p.value for p in near) / len(near)))
    return means


def axis_ticks(low: float, high: float, share: bool = False) -> list[float]:
    """Two to six round numbers, evenly spaced, the first at most `low` and the last at least `high`.

    They span a tenth at least for a `share`, and its whole size for a value that does not change. An axis of values
    that are nowhere negative has no negative number, and one of shares, which are at most 1, none above 1.
    """
    least = 0.1 if share else (abs(low) or 1.0) if low == high else 0.0
    if high - low < least:
        start = (low + high - least) / 2
        if share and high <= 1:
            start = min(start, 1 - least)
        if low >= 0:
            start = max(start, 0.0)
        low, high = min(low, start), max(high, start + least)
    exponent = math.floor(math.log10((high - low) / 4))
    step = next(size * 10.0**exponent for size in (1, 2, 5, 10) if (high - low) / (size * 10.0**exponent) <= 4 + 1e-9)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, -exponent) for i in range(first, last + 1)]


def number(value: float) -> str:
    """Short: 0.25, 3,000, 1.5e-4."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if 0 < abs(value) < 0.001:
        digits, _, exponent = f"{value:.2e}".partition("e")
        return f"{float(digits):g}e{int(exponent)}"
    return f"{value:.3g}"

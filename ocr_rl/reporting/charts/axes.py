"""What all charts share: the frame that values lie in, ticks, short numbers, running means and words for alt texts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

SMOOTHED_FROM = 20
"""Steps from which a running mean is drawn over the noise."""


@dataclass(frozen=True)
class Frame:
    """Scales from values to pixels: x from `first` to `last`, y from the lowest of `ticks` to the highest."""

    size: tuple[int, int]
    """Width and height of the picture."""
    margins: tuple[float, float, float, float]
    """Left, right, top and bottom."""
    first: float
    last: float
    ticks: Sequence[float]
    """Of the value axis."""

    def x(self, at: float) -> float:
        """Pixels from the left; the middle if `first` and `last` are equal."""
        left, right, _, _ = self.margins
        share = (at - self.first) / (self.last - self.first) if self.last > self.first else 0.5
        return round(left + share * (self.size[0] - left - right), 1)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        _, _, top, bottom = self.margins
        share = (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])
        return round(self.size[1] - bottom - share * (self.size[1] - top - bottom), 1)

    def value_axis(self) -> Iterator[str]:
        """A line across the frame for each tick, with its number at the left."""
        left, right, _, _ = self.margins
        for tick in self.ticks:
            yield f'<path class="grid" d="M{left},{self.y(tick)} H{self.size[0] - right:g}"/>'
            yield f'<text x="{left - 5}" y="{self.y(tick) + 3.5:g}" text-anchor="end">{number(tick)}</text>'


def svg(size: tuple[int, int], alt_text: str, parts: Sequence[str]) -> str:
    """A picture of these parts; `alt_text` is for those who cannot see it."""
    opening = f'<svg class="curve" viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{escape(alt_text)}">'
    return "".join([opening, *parts, "</svg>"])


def first_and_last(points: Sequence[tuple[float, float]], unit: str = "") -> str:
    """The ends of a line of (x, value) in words: "0.3 at step 1, 0.1 at step 60"; one value for one point."""
    ends = dict.fromkeys([points[0], points[-1]])
    return ", ".join(f"{number(value)} at {unit}{number(x)}" for x, value in ends)


def smoothing_window(steps: int) -> int:
    """Of the running mean that is drawn over so many steps: a tenth of them; 1 if there are few."""
    return max(3, steps // 10) if steps >= SMOOTHED_FROM else 1


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """For each value the mean of the `window` values around it; of fewer at both ends."""
    half = window // 2
    neighbours = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(near) / len(near) for near in neighbours]


def axis_ticks(low: float, high: float, share: bool = False) -> list[float]:
    """Two to six round numbers, evenly spaced, the first at most `low` and the last at least `high`.

    They span at least a tenth for a `share`, and the value's own size for a value that does not change. An axis of
    values that are nowhere negative has no negative number, and one of shares, which are at most 1, none above 1.
    """
    minimum = 0.1 if share else (abs(low) or 1.0) if low == high else 0.0
    if high - low < minimum:
        start = (low + high - minimum) / 2
        if share and high <= 1:
            start = min(start, 1 - minimum)
        if low >= 0:
            start = max(start, 0.0)
        low, high = min(low, start), max(high, start + minimum)
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

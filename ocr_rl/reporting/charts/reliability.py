"""Reliability diagrams as inline SVG: how often what is so sure is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from ocr_rl.reporting.charts.axes import Frame, svg

_SIZE, _MARGINS = (320, 240), (42, 10, 8, 32)
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_LARGEST = 9
"""Pixels; the radius of the largest bin. Areas are proportional to units."""


def reliability_diagram(name: str, bins: Sequence[Mapping[str, Any]]) -> str:
    """A dot for each bin: its mean confidence across, its share of right units up. On the diagonal, both are equal.

    Without bins the picture is "".
    """
    if not bins:
        return ""
    frame = Frame(_SIZE, _MARGINS, 0, 1, _TICKS)
    parts = [*frame.value_axis(), f'<path class="raw" d="M{frame.x(0)},{frame.y(0)} L{frame.x(1)},{frame.y(1)}"/>']
    below = _SIZE[1] - 18
    parts += [f'<text x="{frame.x(tick)}" y="{below}" text-anchor="middle">{tick:g}</text>' for tick in _TICKS]
    parts.append(f'<text x="{frame.x(0.5)}" y="{_SIZE[1] - 4}" text-anchor="middle">confidence</text>')
    largest = max(one["units"] for one in bins)
    points = [(frame.x(one["confidence"]), frame.y(one["right"])) for one in bins]
    parts.append(f'<path class="line" d="M{" ".join(f"{x},{y}" for x, y in points)}"/>')
    for (x, y), one in zip(points, bins, strict=True):
        radius = max(2.0, _LARGEST * sqrt(one["units"] / largest))
        title = f"{one['units']:,} {name}s, {one['confidence']:.2f} sure, {one['right']:.2f} right"
        parts.append(f'<circle class="held-out" cx="{x}" cy="{y}" r="{radius:.1f}"><title>{title}</title></circle>')
    said = ", ".join(f"{one['right']:.2f} right where {one['confidence']:.2f} sure" for one in bins)
    return svg(_SIZE, f"{name}s: {said}", parts)

"""Components of ink on a page, and what follows from them for all of it: the height of letters and the skew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEEPEST = 4.0
"""Degrees of skew."""
REACH = 51
"""Pixels around a point whose lightest are taken for the paper there."""


@dataclass(frozen=True)
class Marks:
    """Components of ink: places on the deskewed page, in pixels of the page that is looked at."""

    left: Floats
    top: Floats
    right: Floats
    bottom: Floats
    area: Floats
    """Pixels of ink."""
    depth: Floats
    """How dark the darkest of them is: 0 is paper, 1 is black."""

    def __len__(self) -> int:
        return len(self.left)

    def __getitem__(self, chosen: Any) -> Marks:
        return Marks(*(values[chosen] for values in vars(self).values()))

    @property
    def width(self) -> Floats:
        return self.right - self.left

    @property
    def height(self) -> Floats:
        return self.bottom - self.top

    @property
    def middle(self) -> Floats:
        return (self.top + self.bottom) / 2

    def moved(self, slope: float) -> Marks:
        """Each one lower by `slope` for each pixel to the left of it."""
        by = slope * (self.left + self.right) / 2
        return replace(self, top=self.top - by, bottom=self.bottom - by)


def darkness(grey: Floats) -> Floats:
    """From (H, W) levels of grey, 0 is black, to how much darker they are than what is around: 0 to 1."""
    from scipy import ndimage

    smooth = ndimage.uniform_filter(grey, 5)
    around = ndimage.uniform_filter(ndimage.maximum_filter(smooth, REACH), REACH)
    dark: Floats = np.clip(1 - grey / np.maximum(around, 1), 0, 1)
    return dark


def otsu(values: Floats) -> float:
    """The threshold between two classes of values from 0 to 1 that differ most from each other (Otsu, 1979)."""
    counts, edges = np.histogram(values, 64, (0, 1))
    centres = (edges[:-1] + edges[1:]) / 2
    below, mass = np.cumsum(counts), np.cumsum(counts * centres)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass / below - (mass[-1] - mass) / above) ** 2
    return float(edges[1:][np.nanargmax(np.nan_to_num(between))])


def components(dark: Floats) -> Marks:
    """What is connected and darker than Otsu's threshold."""
    from scipy import ndimage

    labels, count = ndimage.label(dark > max(0.2, otsu(dark)), np.ones((3, 3)))
    places = [place for place in ndimage.find_objects(labels) if place is not None]
    assert len(places) == count
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    box = [(x.start, y.start, x.stop, y.stop) for y, x in places]
    depth = ndimage.maximum(dark, labels, np.arange(1, count + 1))
    left, top, right, bottom = np.array(box, dtype=np.float64).reshape(-1, 4).T
    return Marks(left, top, right, bottom, area.astype(np.float64), np.array(depth))


def letter_height(marks: Marks) -> float | None:
    """Of most letters without ascender; None without letters. Specks count less than letters."""
    likely = marks[(marks.height >= 5) & (marks.height <= 100) & (marks.width >= 2) & (marks.width < 5 * marks.height)]
    if len(likely) < 2:
        return None
    heights = np.sort(likely.height)
    weight = np.cumsum(heights)
    return float(heights[np.searchsorted(weight, weight[-1] / 2)])


def of_text(marks: Marks, letter: float) -> Marks:
    """Without rules, frames, punched holes, pictures, and the texture of what the page lies on."""
    high = (marks.height <= 3.5 * letter) & (marks.width <= 15 * letter)
    rule = (marks.width > 4 * letter) & (marks.height < 0.35 * letter)
    hole = (np.minimum(marks.height, marks.width) > 1.4 * letter) & (marks.area > 0.65 * marks.height * marks.width)
    text = marks[high & ~rule & ~hole]
    return text[text.depth >= 0.7 * np.median(text.depth[~is_speck(text, letter)])] if len(text) else text


def is_speck(marks: Marks, letter: float) -> NDArray[np.bool_]:
    """A full stop, the dot of an i, or dust."""
    return (marks.height < 0.3 * letter) & (marks.width < 0.3 * letter)


def body_of(marks: Marks, letter: float) -> Marks:
    """Those as high as letters are."""
    return marks[(marks.height >= 0.5 * letter) & (marks.height <= 2.2 * letter)]


def skew(body: Marks, letter: float) -> float:
    """Pixels that lines fall for each pixel to the right: where letters crowd most into rows."""
    if len(body) < 20:
        return 0.0

    def crowding(slope: float) -> float:
        bottom = body.moved(slope).bottom
        rows, _ = np.histogram(bottom, np.arange(bottom.min(), bottom.max() + letter, letter / 4))
        return float((rows.astype(np.float64) ** 2).sum())

    slopes = np.tan(np.radians(np.arange(-STEEPEST, STEEPEST + 0.01, 0.1)))
    found = np.array([crowding(slope) for slope in slopes])
    return float(slopes[found.argmax()]) if found.max() > 1.1 * crowding(0.0) else 0.0

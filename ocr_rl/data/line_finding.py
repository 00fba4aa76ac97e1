"""Lines of text on the image of a page, without a layout file: for policies that read one line at a time.

Connected components of ink, from which the height of letters, the skew, the blocks (by gaps, recursively: the XY-cut of
Nagy and Seth, 1984) and the lines within them follow. It suits typescript and print on a page that is more or less
upright. Handwriting, tables and text over pictures need a layout file from a program made for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ocr_rl.data.archives.layout import Layout, Line, Points, Region

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float64]

LONGEST_SIDE = 1600
"""Larger pages are looked at in this size."""
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


def find_lines(image: Image) -> Layout:
    """Regions of lines with outline and baseline, in reading order; without any where there is no text.

    Args:
        image: a page, dark on light.
    """
    size = image.size
    scale = min(1.0, LONGEST_SIDE / max(size))
    grey = image.convert("L")
    small = grey.resize((max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))) if scale < 1 else grey
    found = components(darkness(np.asarray(small, dtype=np.float64)))
    letter = letter_height(found)
    if letter is None:
        return Layout("", size)
    marks = of_text(found, letter)
    if not len(body := body_of(marks, letter)):
        return Layout("", size)
    slope, depth = skew(body, letter), float(np.median(body.depth))
    level = marks.moved(slope)
    specks = level[is_speck(level, letter)]
    regions = []
    for number, block in enumerate(blocks(level[~is_speck(level, letter)], letter), 1):
        lines = tuple(
            Line(f"r{number}l{i}", polygon=outline, baseline=baseline)
            for i, (outline, baseline) in enumerate(_outlines(block, specks, letter, depth, slope, scale, size), 1)
        )
        if lines:
            regions.append(Region(f"r{number}", lines=lines))
    return Layout("", size, tuple(regions))


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


def blocks(marks: Marks, letter: float) -> Iterator[Marks]:
    """Columns and paragraphs: cut at the widest empty stretch across or down, as long as there is one."""
    if not len(marks):
        return
    cut = _gap(marks.left, marks.right, 2.5 * letter)
    if cut is not None and all(_height(marks[side]) > 7 * letter for side in (marks.left < cut, marks.left >= cut)):
        side = marks.left < cut
    elif (cut := _gap(marks.top, marks.bottom, 2.5 * letter)) is not None:
        side = marks.top < cut
    else:
        yield marks
        return
    yield from blocks(marks[side], letter)
    yield from blocks(marks[~side], letter)


def _height(marks: Marks) -> float:
    return float(marks.bottom.max() - marks.top.min())


def _gap(starts: Floats, ends: Floats, least: float) -> float | None:
    """The middle of the widest stretch that no interval covers; None if it is narrower than `least`."""
    order = np.argsort(starts)
    reached = np.maximum.accumulate(ends[order])[:-1]
    widths = starts[order][1:] - reached
    if not len(widths) or widths.max() < least:
        return None
    at = int(widths.argmax())
    return float(reached[at] + widths[at] / 2)


def _outlines(
    block: Marks, specks: Marks, letter: float, depth: float, slope: float, scale: float, size: tuple[int, int]
) -> Iterator[tuple[Points, Points]]:
    """(outline, baseline) of each line of a block, from the top, in pixels of the image. `depth` is that of the page."""
    for row in rows(block, letter):
        line = without_specks(row, letter)
        body = body_of(line, letter)
        if body.width.sum() < max(0.8 * letter, 0.35 * line.width.sum()) or np.median(body.depth) < 0.65 * depth:
            continue
        base = float(np.median(body.bottom))
        if len(body) >= 6 and np.mean(abs(body.bottom - base) < 0.2 * letter) < 0.3:
            continue  # letters stand on a line; what else is as high as they are does not
        top = min(float(np.quantile(body.top, 0.05)), base - letter) - 0.35 * letter
        bottom = max(float(np.quantile(body.bottom, 0.95)), base) + 0.35 * letter
        near = specks[(specks.middle > top) & (specks.middle < bottom)]
        left, right = _with_stops(line, near, letter)
        left, right = left - 0.5 * letter, right + 0.5 * letter
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        yield _on_image(corners, slope, scale, size), _on_image([(left, base), (right, base)], slope, scale, size)


def _with_stops(line: Marks, specks: Marks, letter: float) -> tuple[float, float]:
    """Where a line begins and ends, with the full stops that follow one another from its ends."""
    left, right = float(line.left.min()), float(line.right.max())
    for speck in np.sort(specks.left):
        if right < speck < right + 1.5 * letter:
            right = float(speck + 0.3 * letter)
    for speck in np.sort(specks.right)[::-1]:
        if left - 1.5 * letter < speck < left:
            left = float(speck - 0.3 * letter)
    return left, right


def _on_image(points: list[tuple[float, float]], slope: float, scale: float, size: tuple[int, int]) -> Points:
    found = [(x / scale, (y + slope * x) / scale) for x, y in points]
    return tuple((round(min(max(x, 0), size[0])), round(min(max(y, 0), size[1]))) for x, y in found)


def body_of(marks: Marks, letter: float) -> Marks:
    """Those as high as letters are."""
    return marks[(marks.height >= 0.5 * letter) & (marks.height <= 2.2 * letter)]


def without_specks(line: Marks, letter: float) -> Marks:
    """Without what is far from the rest of the line and not as high as a letter."""
    line = line[np.argsort(line.left)]
    if not len(line):
        return line
    gaps = line.left[1:] - np.maximum.accumulate(line.right)[:-1]
    group = np.concatenate([[0], np.cumsum(gaps > 3 * letter)])
    inked = np.bincount(group, weights=np.where((line.height >= 0.5 * letter), line.width, 0))
    return line[inked[group] >= 0.4 * letter]


def rows(block: Marks, letter: float) -> Iterator[Marks]:
    """The marks of each line, from the top: letters crowd around its middle, and fewer are between two lines."""
    from scipy import ndimage
    from scipy.signal import find_peaks

    body = body_of(block, letter)
    if not len(body):
        return
    start = math.floor(body.top.min())
    profile = np.zeros(math.ceil(body.bottom.max()) - start + 2)
    for top, bottom, width in zip(body.top - start, body.bottom - start, body.width, strict=True):
        profile[round(top) : max(round(top) + 1, round(bottom))] += width
    smooth = np.pad(ndimage.gaussian_filter1d(profile, 0.3 * letter), 1)
    peaks, _ = find_peaks(smooth, distance=max(1, round(1.1 * letter)), prominence=0.15 * letter)
    if not len(peaks):
        return
    valleys = [int(a + smooth[a:b].argmin()) for a, b in pairwise(peaks)]
    number = np.searchsorted(np.array(valleys, dtype=np.float64) - 1 + start, block.middle)
    for i in range(len(peaks)):
        if (own := number == i).any():
            yield block[own]

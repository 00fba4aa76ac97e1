"""Lines of text on the image of a page, without a layout file: for policies that read one line at a time.

From components of ink follow the height of letters, the skew, the blocks (by gaps, recursively: the XY-cut of Nagy and
Seth, 1984) and the lines within them. It suits typescript and print on a page that is more or less upright.
Handwriting, tables and text over pictures need a layout file from a program made for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ocr_rl.data.archives.layout import Layout, Line, Points, Region
from ocr_rl.data.lines.marks import (
    Floats,
    Marks,
    body_of,
    components,
    darkness,
    is_speck,
    letter_height,
    of_text,
    skew,
)

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST_SIDE = 1600
"""Larger pages are looked at in this size."""


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
    slope = skew(body, letter)
    level = marks.moved(slope)
    specks = is_speck(level, letter)
    shape = _LineShape(letter, float(np.median(body.depth)), level[specks])
    regions: list[Region] = []
    for block in blocks(level[~specks], letter):
        name = f"r{len(regions) + 1}"
        boxes = [box for row in rows(block, letter) if (box := shape.around(row)) is not None]
        lines = (_line(f"{name}l{i}", box, slope, scale, size) for i, box in enumerate(boxes, 1))
        regions += [Region(name, lines=tuple(lines))] if boxes else []
    return Layout("", size, tuple(regions))


@dataclass(frozen=True)
class _Box:
    """A line on the deskewed page."""

    left: float
    top: float
    right: float
    bottom: float
    base: float


@dataclass(frozen=True)
class _LineShape:
    """What the lines of a page have in common."""

    letter: float
    depth: float
    """Of its letters, the median."""
    specks: Marks

    def around(self, row: Marks) -> _Box | None:
        """The line around a row of marks; None if it is no text."""
        letter = self.letter
        line = without_specks(row, letter)
        body = body_of(line, letter)
        wide = body.width.sum() >= max(0.8 * letter, 0.35 * line.width.sum()) or is_page_number(line, body, letter)
        if not wide or np.median(body.depth) < 0.65 * self.depth:
            return None
        base = float(np.median(body.bottom))
        if len(body) >= 6 and np.mean(abs(body.bottom - base) < 0.2 * letter) < 0.3:
            return None  # letters stand on a line; what else is as high as they are does not
        top = min(float(np.quantile(body.top, 0.05)), base - letter) - 0.35 * letter
        bottom = max(float(np.quantile(body.bottom, 0.95)), base) + 0.35 * letter
        near = self.specks[(self.specks.middle > top) & (self.specks.middle < bottom)]
        left, right = _with_stops(line, near, letter)
        return _Box(left - 0.5 * letter, top, right + 0.5 * letter, bottom, base)


def _line(name: str, box: _Box, slope: float, scale: float, size: tuple[int, int]) -> Line:
    """The line in pixels of the image."""

    def on_image(*points: tuple[float, float]) -> Points:
        found = [(x / scale, (y + slope * x) / scale) for x, y in points]
        return tuple((round(min(max(x, 0), size[0])), round(min(max(y, 0), size[1]))) for x, y in found)

    corners = [(box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom)]
    return Line(name, polygon=on_image(*corners), baseline=on_image((box.left, box.base), (box.right, box.base)))


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


def _gap(starts: Floats, ends: Floats, narrowest: float) -> float | None:
    """The middle of the widest stretch that no interval covers; None if it is narrower than `narrowest`."""
    order = np.argsort(starts)
    reached = np.maximum.accumulate(ends[order])[:-1]
    widths = starts[order][1:] - reached
    if not len(widths) or widths.max() < narrowest:
        return None
    at = int(widths.argmax())
    return float(reached[at] + widths[at] / 2)


def without_specks(line: Marks, letter: float) -> Marks:
    """Without what is far from the rest of the line and not as high as a letter."""
    line = line[np.argsort(line.left)]
    if not len(line):
        return line
    gaps = line.left[1:] - np.maximum.accumulate(line.right)[:-1]
    group = np.concatenate([[0], np.cumsum(gaps > 3 * letter)])
    inked = np.bincount(group, weights=np.where((line.height >= 0.5 * letter), line.width, 0))
    return line[inked[group] >= 0.4 * letter]


def is_page_number(line: Marks, body: Marks, letter: float) -> bool:
    """Whether a row is a few letters between two dashes, as in "- 2 -"; a digit alone may be dust."""
    if not 1 <= len(body) <= 4 or len(line) > len(body) + 2:
        return False
    level = abs(line.middle - np.median(body.middle)) < 0.5 * letter
    dash = line[level & (line.height < 0.4 * letter) & (line.width > 0.25 * letter) & (line.width < 2 * letter)]
    before, after = body.left.min() - dash.right, dash.left - body.right.max()
    return all(((gap >= 0) & (gap < 3 * letter)).any() for gap in (before, after))


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

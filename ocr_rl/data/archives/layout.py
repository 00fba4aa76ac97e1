"""What PAGE-XML, ALTO and hOCR say of a page: regions of lines, in reading order, with their places and texts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

Points = tuple[tuple[int, int], ...]
"""(x, y) in the units of the page's size, from its upper left corner."""

FARTHEST = 1_000_000
"""A coordinate beyond this is a mistake."""

Ordered = TypeVar("Ordered")


@dataclass(frozen=True)
class Word:
    text: str
    polygon: Points = ()
    """Its outline; empty if nothing says where it is."""
    id: str = ""


@dataclass(frozen=True)
class Line:
    id: str
    text: str = ""
    """On one line; empty if nobody transcribed it."""
    polygon: Points = ()
    """Its outline; empty if the file has none."""
    baseline: Points = ()
    problem: str = ""
    """What is wrong with its coordinates; it continues a sentence that begins with its name."""
    confidence: float | None = None
    """How sure its text is, from 0 to 1."""
    confidences: tuple[float, ...] = ()
    """How sure each of its words is; empty if nobody said."""
    words: tuple[Word, ...] = ()
    """What the file has of its words with an outline; they spell the text that it has in the file."""


@dataclass(frozen=True)
class Region:
    id: str
    kind: str = ""
    """Such as `heading`, as the file calls it."""
    polygon: Points = ()
    lines: tuple[Line, ...] = ()
    own_text: str = ""
    """The text of a region without lines."""
    problem: str = ""
    confidences: tuple[float, ...] = ()
    """How sure each word of its own text is."""

    @property
    def text(self) -> str:
        """Its lines that have a text, or its own text."""
        return "\n".join(line.text for line in self.lines if line.text) or self.own_text


@dataclass(frozen=True)
class Layout:
    """One page."""

    image: str
    """The name of its image, as the file has it."""
    size: tuple[int, int]
    """Width and height that coordinates refer to; (0, 0) if the file does not say: those of the image."""
    regions: tuple[Region, ...] = ()
    """In reading order."""
    id: str = ""
    problem: str = ""

    @property
    def text(self) -> str:
        """The texts of its regions, as paragraphs."""
        return "\n\n".join(region.text for region in self.regions if region.text)

    @property
    def lines(self) -> list[Line]:
        return [line for region in self.regions for line in region.lines]

    def scaled(self, size: tuple[int, int]) -> Layout:
        """The same page with coordinates that refer to another size."""
        if self.size == size or not all(self.size):
            return replace(self, size=size)
        x, y = (new / old for new, old in zip(size, self.size, strict=True))

        def move(points: Points) -> Points:
            return tuple((round(px * x), round(py * y)) for px, py in points)

        regions = tuple(
            replace(
                region,
                polygon=move(region.polygon),
                lines=tuple(
                    replace(
                        line,
                        polygon=move(line.polygon),
                        baseline=move(line.baseline),
                        words=tuple(replace(word, polygon=move(word.polygon)) for word in line.words),
                    )
                    for line in region.lines
                ),
            )
            for region in self.regions
        )
        return replace(self, size=size, regions=regions)


def box_points(left: float, top: float, right: float, bottom: float) -> Points:
    """The four corners of a box, clockwise."""
    return tuple((round(x), round(y)) for x, y in ((left, top), (right, top), (right, bottom), (left, bottom)))


def bounds(points: Points) -> tuple[int, int, int, int]:
    """Left, top, right and bottom."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def parse_numbers(text: str) -> list[float]:
    """Numbers between spaces and commas. Raises ValueError for anything that is no coordinate."""
    numbers = []
    for word in re.findall(r"[^\s,]+", text):
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if not abs(number) <= FARTHEST:
            raise ValueError(f"holds {word[:40]}, which is no coordinate")
        numbers.append(number)
    return numbers


def parse_points(text: str) -> Points:
    """`x,y x,y` as in PAGE-XML, or `x y x y` as in some ALTO, rounded. Raises ValueError for anything else."""
    numbers = parse_numbers(text)
    if len(numbers) % 2:
        raise ValueError(f"holds {len(numbers)} numbers, which are no pairs x,y")
    return tuple(zip(map(round, numbers[::2]), map(round, numbers[1::2]), strict=True))


def outline(parse: Callable[[], Points | None], size: tuple[int, int]) -> tuple[Points, str]:
    """(the polygon that `parse` returns, what is wrong with it); nothing and "" if it returns None."""
    try:
        points = parse()
    except ValueError as error:
        return (), f'polygon {error}; write "x,y x,y x,y"'
    if points is None:
        return (), ""
    if len(set(points)) < 3:
        return (), f'polygon has {len(set(points))} points; write three or more, as "x,y x,y x,y"'
    left, top, right, bottom = bounds(points)
    if left == right or top == bottom:
        return (), "polygon encloses nothing; write its outline"
    if all(size) and (right <= 0 or bottom <= 0 or left >= size[0] or top >= size[1]):
        return (), f"polygon is outside of the page, which is {size[0]} x {size[1]}; write it in the page's units"
    return points, ""


def in_order(items: Sequence[Ordered], position: Callable[[Ordered], int | None]) -> list[Ordered]:
    """The items by position, then those without one; those with the same position stay as they are."""
    return sorted(items, key=lambda item: math.inf if (place := position(item)) is None else place)


def known_id(stated: str | None, otherwise: str) -> str:
    """An element's id, which may become part of a file's name; `otherwise` if it has none."""
    return re.sub(r"[\s/\\\0]", "_", (stated or "").strip()) or otherwise


def known_word(text: str, polygon: Points, name: str) -> Word | None:
    """A word that a file has the place of; None if it has not, or if several words have it together."""
    return Word(text, polygon, name) if text and polygon and " " not in text else None


def one_line(text: str) -> str:
    """The text on one line, without spaces around it."""
    return re.sub(r"[ \t]*[\r\n]+[ \t]*", " ", text).strip(" \t\r\n")


def some_lines(text: str) -> str:
    """The text without spaces around its lines, and without empty lines around it."""
    return re.sub(r"[ \t]*(?:\r\n|\r|\n)[ \t]*", "\n", text).strip(" \t\n")

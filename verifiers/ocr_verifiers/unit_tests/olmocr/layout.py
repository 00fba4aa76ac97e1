"""olmOCR's comparison of two rendered formulas by the positions of their characters."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import lru_cache
from math import floor

from ocr_verifiers.markup.katex import Rendered, render

TOLERANCE = 5.0
"""Pixels by which the centres of two characters in one row or column may be offset."""
MAX_OPTIONS = 200_000
"""Pairs of equal characters, one from each formula. olmOCR has no limit; beyond this one, the formulas differ."""
MAX_STEPS = 5_000
"""Steps of the search for an assignment; likewise."""
MAX_WALK = 500
"""Characters of a band that are searched for a neighbour; likewise."""
MAX_PASSES = 4
CACHED_LAYOUTS = 20_000
_INVISIBLE = re.compile(r"[\s\u200a-\u200d\u2060\ufeff]+")

Neighbours = tuple[int | None, int | None, int | None, int | None]


@dataclass(frozen=True)
class Layout:
    """The characters of a formula and, for each, the index of the nearest one above, below, left and right."""

    mathml: str
    """Without white space."""
    characters: tuple[str, ...]
    neighbours: tuple[Neighbours, ...]
    error: str | None


@lru_cache(maxsize=CACHED_LAYOUTS)
def layout(latex: str) -> Layout:
    """The rendered formula, each element split into characters of equal width."""
    rendered: Rendered = render(latex)
    characters: list[str] = []
    places: list[tuple[float, float]] = []
    for glyph in rendered.glyphs:
        text = _INVISIBLE.sub("", glyph.text)
        for i, character in enumerate(text):
            characters.append(character)
            places.append((glyph.x + glyph.width * (i + 0.5) / len(text), glyph.y))
    mathml = _INVISIBLE.sub("", rendered.mathml)
    return Layout(mathml, tuple(characters), _neighbours(places), rendered.error)


def _neighbours(places: list[tuple[float, float]]) -> tuple[Neighbours, ...]:
    """The nearest along one axis among those within TOLERANCE on the other axis; on ties, the first."""
    beside = _nearest([x for x, _ in places], [y for _, y in places])
    stacked = _nearest([y for _, y in places], [x for x, _ in places])
    return tuple((*vertical, *horizontal) for vertical, horizontal in zip(stacked, beside, strict=True))


def _nearest(along: list[float], across: list[float]) -> list[tuple[int | None, int | None]]:
    """For each place, the nearest one before and after it. Only the three bands around it are searched."""
    bands: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for j, (at, off) in enumerate(zip(along, across, strict=True)):
        bands[floor(off / TOLERANCE)].append((at, j))
    for band in bands.values():
        band.sort()
    found = []
    for at, off in zip(along, across, strict=True):
        before: tuple[float, int] | None = None
        after: tuple[float, int] | None = None
        for key in range(floor(off / TOLERANCE) - 1, floor(off / TOLERANCE) + 2):
            band = bands.get(key, [])
            start = bisect_left(band, (at, -1))
            for other, j in reversed(band[max(0, start - MAX_WALK) : start]):
                if before is not None and at - other > before[0]:
                    break
                if abs(across[j] - off) <= TOLERANCE:
                    before = min(before or (at - other, j), (at - other, j))
            start = bisect_left(band, (at, len(along)))
            for other, j in band[start : start + MAX_WALK]:
                if after is not None and other - at > after[0]:
                    break
                if abs(across[j] - off) <= TOLERANCE:
                    after = min(after or (other - at, j), (other - at, j))
        found.append((before and before[1], after and after[1]))
    return found


def matches(reference: Layout, other: Layout) -> bool:
    """True if each character of `reference` can be assigned its own one of `other`, with equal text and neighbours.

    Each neighbour in the reference must exist in `other` with the same text. If it precedes the character (in the order
    of the elements), it must also be the one that was assigned to it.
    """
    places = defaultdict(list)
    for j, character in enumerate(other.characters):
        places[character].append(j)
    wanted = Counter(reference.characters)
    if any(count > len(places[character]) for character, count in wanted.items()):
        return False
    if sum(count * len(places[character]) for character, count in wanted.items()) > MAX_OPTIONS:
        return False
    options: list[set[int]] = []
    earlier: list[list[tuple[int, int]]] = []
    for i, character in enumerate(reference.characters):
        around = reference.neighbours[i]
        sides = [(side, near) for side, near in enumerate(around) if near is not None]
        options.append(
            {
                j
                for j in places[character]
                if all(
                    (found := other.neighbours[j][side]) is not None
                    and other.characters[found] == reference.characters[near]
                    for side, near in sides
                )
            }
        )
        if not options[-1]:
            return False
        earlier.append([(side, near) for side, near in sides if near < i])
    return _prune(options, earlier, other) and _assign(options, earlier, other)


def _prune(options: list[set[int]], earlier: list[list[tuple[int, int]]], other: Layout) -> bool:
    """Removes options without a partner, forwards and backwards; False if a character has none left."""
    order = range(len(earlier))
    for _ in range(MAX_PASSES):
        changed = False
        order = order[::-1]
        for i in order:
            for side, near in earlier[i]:
                mine = {j for j in options[i] if other.neighbours[j][side] in options[near]}
                theirs = options[near] & {k for j in mine if (k := other.neighbours[j][side]) is not None}
                if not mine or not theirs:
                    return False
                changed = changed or len(mine) < len(options[i]) or len(theirs) < len(options[near])
                options[i], options[near] = mine, theirs
        if not changed:
            break
    return True


def _assign(options: list[set[int]], earlier: list[list[tuple[int, int]]], other: Layout) -> bool:
    """Chooses a different option for each character, by backtracking without recursion; False if that is impossible."""
    ordered = [sorted(choice) for choice in options]
    chosen: list[int] = []
    used: set[int] = set()
    next_option = [0]
    for _ in range(MAX_STEPS):
        i = len(chosen)
        if i == len(ordered):
            return True
        if next_option[i] == len(ordered[i]):
            next_option.pop()
            if not chosen:
                return False
            used.remove(chosen.pop())
            continue
        j = ordered[i][next_option[i]]
        next_option[i] += 1
        if j not in used and all(other.neighbours[j][side] == chosen[near] for side, near in earlier[i]):
            chosen.append(j)
            used.add(j)
            next_option.append(0)
    return False

"""Formulas compared by the characters that they print and where these stand: CDM, without TeX and images.

The measure is that of arXiv 2409.03643. KaTeX sets both formulas, and its boxes give the place of every character; the
published implementation has TeX print each in a colour of its own and looks for the colours in the image.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.markup.formulas import plain
from ocr_verifiers.markup.katex import Character, characters_of
from ocr_verifiers.markup.latex_macros import with_macros
from ocr_verifiers.metrics.assignment import cheapest_pairs

PLACE, ORDER = 0.05, 0.15
"""What a difference in place (of the formula's size) and in order (of its number of characters) costs."""
MARGIN = 0.5
"""Added to the size of a formula, in em."""
NEAR = 0.615
"""Em by which a character may be off: the published 20 pixels, at 200 of them per inch and 12 points."""
ROUNDS, TRIALS, SAMPLE = 5, 50, 2
EPSILON = float(np.finfo(float).eps)

Points = npt.NDArray[np.float64]

_ALIKE = {
    **dict.fromkeys(("\\dot", "⋅", "·"), "."),
    **dict.fromkeys("∣❘", "|"),
    **dict.fromkeys("−–", "-"),
    **dict(zip("‖⊤′∗εϑφϱςϖϰ", "∥T'*ϵθϕρσπκ", strict=True)),
    "\\widehat": "\\hat",
    "\\widetilde": "\\tilde",
    "\\widecheck": "\\check",
}
"""Characters that the published implementation takes for each other."""


class CharacterMatch(NamedTuple):
    """Numbers of characters."""

    matched: int
    reference: int
    formula: int

    @property
    def recall(self) -> float:
        return self.matched / self.reference

    @property
    def precision(self) -> float:
        """0 for a formula that prints nothing."""
        return self.matched / self.formula if self.formula else 0.0

    @property
    def f1(self) -> float:
        """2 matched / (reference + formula): the score."""
        return 2 * self.matched / (self.reference + self.formula)


def cdm(reference: str, formula: str) -> CharacterMatch | None:
    """The characters of `formula` that stand where they do in `reference`, both in LaTeX without delimiters.

    A formula that cannot be rendered has no characters. None if the reference has none. Raises EngineMissingError
    without mini-racer.
    """
    expected, written = (characters_of(with_macros(plain(latex))) for latex in (reference, formula))
    if not expected:
        return None
    if not written:
        return CharacterMatch(0, len(expected), 0)
    ours, theirs = _places(expected), _places(written)
    pairs, alike = _pairs(expected, written)
    kept = _consistent(ours[pairs[:, 0]], theirs[pairs[:, 1]])
    return CharacterMatch(int((kept & alike).sum()), len(expected), len(written))


def formulas_cdm(expected: Sequence[str], written: Sequence[str]) -> float:
    """The score of each pair of formulas, summed / the number of formulas of the side that has more.

    Pairs have the least edit distance of their LaTeX. A reference that cannot be rendered is matched by equal LaTeX.
    """
    if not expected or not written:
        return float(not expected and not written)
    sides = [["".join(latex.split()) for latex in side] for side in (expected, written)]
    distances = process.cdist(*sides, scorer=Levenshtein.normalized_distance, dtype=np.float64)
    total = 0.0
    for left, right in cheapest_pairs(distances):
        match = cdm(expected[left], written[right])
        total += float(sides[0][left] == sides[1][right]) if match is None else match.f1
    return total / max(len(expected), len(written))


def _pairs(
    expected: tuple[Character, ...], written: tuple[Character, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Pairs of characters, in the order of `expected`, and which are of the same name.

    First of the same name, then of those that are left over, each with the least difference in place and order.
    """
    longest = max(len(expected), len(written))
    places = [_relative(_places(side)) for side in (expected, written)]
    groups: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for at, side in enumerate((expected, written)):
        for number, character in enumerate(side):
            groups[_ALIKE.get(character.name, character.name)][at].append(number)

    def nearest(left: list[int], right: list[int]) -> list[tuple[int, int]]:
        ours, theirs = np.array(left, int), np.array(right, int)
        place = np.abs(places[0][ours, None] - places[1][None, theirs]).mean(axis=2)
        order = np.abs(ours[:, None] - theirs[None, :]) / longest
        return [(left[i], right[j]) for i, j in cheapest_pairs(PLACE * place + ORDER * order)]

    pairs = [pair for group in groups.values() for pair in nearest(*group)]
    alike = set(pairs)
    left, right = ({pair[at] for pair in pairs} for at in (0, 1))
    pairs += nearest(
        [n for n in range(len(expected)) if n not in left], [n for n in range(len(written)) if n not in right]
    )
    pairs.sort()
    return np.array(pairs), np.array([pair in alike for pair in pairs])


def _places(characters: tuple[Character, ...]) -> Points:
    return np.array([(character.x, character.y) for character in characters])


def _relative(places: Points) -> Points:
    """In parts of the formula's size."""
    size: Points = np.ptp(places, axis=0) + MARGIN
    return np.asarray((places - places.min(axis=0) + MARGIN / 2) / size)


def _consistent(ours: Points, theirs: Points) -> npt.NDArray[np.bool_]:
    """Which pairs of places agree with a shift and a scale that others agree with as well: up to five of them.

    As in the published implementation, one or two pairs that are left over are wrong, unless there are no others.
    """
    kept = np.zeros(len(ours), bool)
    if len(ours) <= SAMPLE:
        return ~kept
    for _ in range(ROUNDS):
        left = np.flatnonzero(~kept)
        if len(left) <= SAMPLE:
            break
        found = _agreeing(ours[left], theirs[left])
        if not found.any():
            break
        kept[left[found]] = True
    return kept


def _agreeing(ours: Points, theirs: Points) -> npt.NDArray[np.bool_]:
    """The pairs that agree with the shift and scale of two of them: RANSAC, with the samples of scikit-image 0.20.

    It ends once a better pair of samples would have been found with a probability of 1 - epsilon.
    """
    generator = np.random.default_rng(42)
    best = np.zeros(len(ours), bool)
    best_count, best_off, trials, done = 0, math.inf, float(TRIALS), 0
    middle = ours.mean(axis=0)
    while done < trials:
        done += 1
        sample = generator.choice(len(ours), SAMPLE, replace=False)
        source, target = ours[sample], theirs[sample]
        shift = (target - source).mean(axis=0)
        scale = math.dist(*target) / (math.dist(*source) + 2e-10)
        off = np.linalg.norm(scale * (ours - middle) + middle + shift - theirs, axis=1)
        agree = off < NEAR
        count, total = int(agree.sum()), float(off @ off)
        if count > best_count or (count == best_count and total < best_off):
            best, best_count, best_off = agree, count, total
            if count:
                missed = max(EPSILON, 1 - (count / len(ours)) ** SAMPLE)
                trials = min(trials, math.ceil(math.log(EPSILON) / math.log(missed)))
    return best

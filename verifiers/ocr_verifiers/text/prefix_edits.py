"""What each part of a completion costs: the edits that its prefixes make unavoidable.

m_t = min_k D(y[:t], x[:k]) is the number of edits that the best continuation of the first t characters of completion y
ends with, D the edit distance and x the reference (Sabour et al., "Optimal completion distillation", arXiv 1810.01398).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein

Ints = npt.NDArray[np.int32]

UNREACHED = 1 << 28


class PrefixEdits(NamedTuple):
    """For a completion of T units."""

    fewest: Ints
    """m_t, (T + 1,): from 0, never falling."""
    position: Ints
    """The largest k at which m_t is reached, (T + 1,): how much of the reference the prefix stands for."""
    distance: int
    """D(y, x), at least m_T."""
    optimal: Sequence[Ints] = ()
    """All k at which m_t is reached, for each t, rising; empty unless asked for. After the first t characters exactly
    the next ones x[k] can be followed by a text of m_t edits, and the end if one k is the length of x."""


def prefix_edits(
    reference: Sequence[str], completions: Sequence[Sequence[str]], *, optimal: bool = False
) -> list[PrefixEdits]:
    """The edits of all prefixes of each completion of one reference. Sequences of code points or grapheme clusters.

    A path of cost m leaves the diagonal by at most m, and m_t is at most D(y, x), so only a band of the edit table is
    computed that is 2 D + 1 wide (Ukkonen, 1985): T D operations per completion, for several completions at a time.
    """
    codes: dict[str, int] = {}
    target = _encoded(reference, codes)
    texts = [_encoded(completion, codes) for completion in completions]
    distances = [Levenshtein.distance(reference, completion) for completion in completions]
    found: dict[int, PrefixEdits] = {}
    order = sorted(range(len(texts)), key=distances.__getitem__)
    while order:
        width = 2 * distances[order[0]] + 16  # completions with bands of similar widths share an array
        several = [i for i in order if distances[i] <= width]
        order = order[len(several) :]
        band = distances[several[-1]]
        rows = _banded(target, [texts[i] for i in several], band, optimal)
        found |= dict(zip(several, rows, strict=True))
    for i, distance in enumerate(distances):
        assert found[i].distance == distance
    return [found[i] for i in range(len(texts))]


def _encoded(text: Sequence[str], codes: dict[str, int]) -> Ints:
    return np.array([codes.setdefault(unit, len(codes)) for unit in text], dtype=np.int32)


def _banded(target: Ints, texts: Sequence[Ints], band: int, optimal: bool) -> list[PrefixEdits]:
    """`band` is at least each text's distance. Column b of row t holds D(y[:t], x[:k]), k = t + b - band."""
    n, longest = len(target), max(map(len, texts))
    beside = np.full(band, -1, dtype=np.int32)
    around = np.concatenate([beside, target, np.full(band + longest + 1, -1, dtype=np.int32)])
    written = np.full((longest, len(texts), 1), -2, dtype=np.int32)
    for i, text in enumerate(texts):
        written[: len(text), i, 0] = text
    index = np.arange(2 * band + 1, dtype=np.int32)
    row = np.where(index >= band, index - band, UNREACHED).astype(np.int32)
    rows = np.repeat(row[None], len(texts), 0)
    fewest = np.zeros((longest + 1, len(texts)), dtype=np.int32)
    position = np.zeros_like(fewest)
    distance = [0] * len(texts)
    sets: list[list[Ints]] = [[] for _ in texts]
    for t in range(longest + 1):
        if t:
            following = rows + (around[t - 1 : t + 2 * band] != written[t - 1])  # one character for another
            np.minimum(following[:, :-1], rows[:, 1:] + 1, out=following[:, :-1])  # one too many
            following -= index
            np.minimum.accumulate(following, axis=1, out=following)  # some left out
            following += index
            rows = following
        inside = rows[:, : max(1, n - t + band + 1)]
        backwards = inside[:, ::-1]
        last = inside.shape[1] - 1 - backwards.argmin(1)
        fewest[t] = inside[np.arange(len(texts)), last]
        position[t] = t + last - band
        if optimal:
            for i, own in enumerate(inside == fewest[t, :, None]):
                sets[i].append(np.flatnonzero(own).astype(np.int32) + (t - band))
        for i, text in enumerate(texts):
            if len(text) == t:
                distance[i] = int(rows[i, n - t + band])
    return [
        PrefixEdits(fewest[: len(text) + 1, i], position[: len(text) + 1, i], distance[i], sets[i][: len(text) + 1])
        for i, text in enumerate(texts)
    ]

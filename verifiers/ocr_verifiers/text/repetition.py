"""Loops: phrases of any length repeated back to back, anywhere in a text."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

MAX_REPEATS = 30
"""olmOCR's limit for short phrases, and the default of a baseline test."""
SHORT_PHRASE = 20
"""Characters. A longer phrase may repeat fewer times, because it fills more of the page."""
MIN_REPEAT_LIMIT = 5
"""Any phrase may repeat this many times in a row, as refrains and equal table rows do."""
LONGEST_LEADER = 1000
"""Characters. Dot leaders, rules and blank table cells, which have no letters or digits, may be this long."""

_TABLE_TAG = re.compile(r"</?(?:table|thead|tbody|tr|th|td)\b[^<>]*>", re.IGNORECASE)


class Loop(NamedTuple):
    """A phrase that is not itself a repetition, and how many complete times it occurs in a row."""

    phrase: str
    times: int
    length: int
    """Characters that follow the pattern, including an incomplete last phrase."""


def find_loops(text: str) -> list[Loop]:
    """Every maximal repetition of at least three in a row, shortest phrases first, in O(n log^2 n).

    For each power of two w, positions where the same w characters start get the same rank (prefix doubling).
    Where a phrase of n characters repeats, w/2 < n <= w, the w characters at each position last occurred n
    positions earlier: a run of equal distances n is a repetition. In ordinary text no w characters occur twice
    once w is about 64, and the search ends there.
    """
    text = " ".join(_TABLE_TAG.sub("|", text).split())
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    loops: list[Loop] = []
    width, ranks = 1, np.unique(codes, return_inverse=True)[1].astype(np.int64)
    while (distances := _distances_back(ranks)).any():
        periods = np.where((distances > width // 2) & (distances <= width), distances, 0)
        edges = np.flatnonzero(np.diff(periods, prepend=0, append=0))
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            period = int(periods[start])
            length = stop - start + width - 1 + period
            if period and length >= 3 * period:
                phrase = text[start - period : start]
                loops.append(Loop(phrase, length // period, length))
        if len(ranks) <= width:
            break
        pairs = ranks[:-width] * len(text) + ranks[width:]
        ranks = np.unique(pairs, return_inverse=True)[1].astype(np.int64)
        width *= 2
    return loops


def _distances_back(ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How far back each position's rank was last seen; 0 where it is new."""
    order = np.argsort(ranks, kind="stable")
    gaps = np.diff(order)
    gaps[np.diff(ranks[order]) != 0] = 0
    distances = np.zeros_like(ranks)
    distances[order[1:]] = gaps
    return distances

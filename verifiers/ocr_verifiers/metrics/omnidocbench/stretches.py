"""The edit distances of a text to all stretches of another, at once.

After A. Tiskin, "Semi-local string comparison: algorithmic techniques and applications" (arXiv 0707.3619). With a sign
before each letter that is the same everywhere, so that letters that differ have one sign in common,

    distance(a, b) = |a| + |b| - LCS(a with signs, b with signs)

A strand comes from each place above and left of the table of the two, and leaves below or on the right. Two strands
that meet bounce off each other at signs that are equal, or if they have crossed before; otherwise they cross. Then

    LCS(a, b[s:e]) = e - s - number of strands that come from above, at s or later, and leave below, before e
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.intp]
_SIGN = 0x110000
"""What is no letter."""


def lost_letters(a: str, b: str) -> Callable[[int, Ints], Ints]:
    """For a place s in b, and lengths l, the number of strands between: distance(a, b[s : s + l]) - |a| + l.

    O(|a| |b|) for all, and O(the longest length) for a place.
    """
    origins = _origins(_with_signs(a), _with_signs(b))

    def lost(start: int, lengths: Ints) -> Ints:
        between = origins[2 * start : 2 * (start + int(lengths[-1]))] >= 2 * start
        counts: Ints = np.cumsum(between, dtype=np.intp)[2 * lengths - 1]
        return counts

    return lost


def _with_signs(text: str) -> npt.NDArray[np.uint32]:
    letters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return np.stack([np.full_like(letters, _SIGN), letters], axis=1).ravel()


def _origins(a: npt.NDArray[np.uint32], b: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
    """For each place below b the one above it that its strand comes from; negative if it comes from the left.

    The cells of a diagonal of the table do not depend on each other.
    """
    rows, columns = len(a), len(b)
    upwards = a[::-1]
    from_left = np.arange(-rows, 0, dtype=np.int32)  # from below
    from_above = np.arange(columns, dtype=np.int32)
    for diagonal in range(rows + columns - 1):
        first = max(0, rows - 1 - diagonal)
        shift = diagonal - rows + 1
        last = min(rows, columns - shift)
        left, above = from_left[first:last], from_above[first + shift : last + shift]
        bounce = (upwards[first:last] == b[first + shift : last + shift]) | (left > above)
        left[:], above[:] = np.where(bounce, above, left), np.where(bounce, left, above)
    return from_above

"""The reading order of a page's paragraphs."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.metrics.paragraphs import paragraphs

MIN_SIMILARITY = 0.5
"""1 - edits / length of the longer one. Less similar paragraphs are not matched."""
COMPARED = 300
"""Characters of a paragraph used in inexact comparison: enough to distinguish the paragraphs of a page."""
MAX_INEXACT = 500
"""Paragraphs per side that are compared inexactly; all others are matched only if they are equal."""


def reading_order(reference: str, completion: str) -> float:
    """The share of pairs of reference paragraphs that the completion has in the reference's order.

        1 - (inversions + pairs with a missing paragraph) / (N (N - 1) / 2),    N reference paragraphs

    R_order of arXiv 2506.03197 counts only the inversions, among matched paragraphs, so that an empty page is in
    perfect order. For one reference paragraph, this is 1 if it was found and else 0; for none, it is 1.
    """
    expected, written = paragraphs(reference), paragraphs(completion)
    if not expected:
        return 1.0
    positions = match_paragraphs(expected, written)
    found = [position for position in positions if position is not None]
    if len(expected) == 1:
        return float(len(found))
    in_order = len(found) * (len(found) - 1) // 2 - _inversions(found)
    return in_order / (len(expected) * (len(expected) - 1) // 2)


def match_paragraphs(expected: Sequence[str], written: Sequence[str]) -> list[int | None]:
    """For each expected paragraph the index of its match among the written ones, each used once; None without a match.

    Equal paragraphs are matched first, the k-th to the k-th. Then the most similar pair is matched, then the most
    similar of the rest, and so on; on ties, the earliest.
    """
    matches: list[int | None] = [None] * len(expected)
    equal: defaultdict[str, deque[int]] = defaultdict(deque)
    for j, paragraph in enumerate(written):
        equal[paragraph].append(j)
    for i, paragraph in enumerate(expected):
        if equal[paragraph]:
            matches[i] = equal[paragraph].popleft()
    taken = set(matches)
    left = [i for i, match in enumerate(matches) if match is None][:MAX_INEXACT]
    free = [j for j in range(len(written)) if j not in taken][:MAX_INEXACT]
    for i, j in _most_similar_first([expected[i] for i in left], [written[j] for j in free]):
        if matches[left[i]] is None and free[j] not in taken:
            matches[left[i]] = free[j]
            taken.add(free[j])
    return matches


def _most_similar_first(expected: Sequence[str], written: Sequence[str]) -> Iterator[tuple[int, int]]:
    """All pairs that are similar enough, the most similar first."""
    if not expected or not written:
        return
    similarities = process.cdist(
        [paragraph[:COMPARED] for paragraph in expected],
        [paragraph[:COMPARED] for paragraph in written],
        scorer=Levenshtein.normalized_similarity,
        score_cutoff=MIN_SIMILARITY,
        dtype=np.float32,
    )
    rows, columns = np.nonzero(similarities)
    for pair in np.argsort(-similarities[rows, columns], kind="stable"):
        yield int(rows[pair]), int(columns[pair])


def _inversions(positions: Sequence[int]) -> int:
    """The number of pairs in the wrong order, by a Fenwick tree in O(n log n)."""
    size = max(positions, default=-1) + 1
    tree = [0] * (size + 1)
    inversions = 0
    for seen, position in enumerate(positions):
        at, not_after = position + 1, 0
        while at:
            not_after += tree[at]
            at &= at - 1
        inversions += seen - not_after
        at = position + 1
        while at <= size:
            tree[at] += 1
            at += at & -at
    return inversions

"""Which blocks of a page belong to which of its reference: OmniDocBench's quick match.

A paragraph may be written as several blocks, and several may be written as one. So, for texts in their normal form:

1. A block of the reference that is near no block of the page (edit distance under .25) is compared with runs of blocks;
   a run grows while that brings it nearer. Of runs that overlap those with the smallest mean distance are joined.
2. Blocks and runs are paired with the smallest sum of distances; a pair further apart than .7 is given up.
3. A block of the reference without a partner joins every block of the page in which it is found (.4 of it wrong).
4. What is left on both sides is paired. If only the page has blocks left, they stand together against nothing.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.metrics.assignment import cheapest_pairs, clear_pairs
from ocr_verifiers.metrics.omnidocbench.runs import found_within, nearest_run, without_overlaps

NEAR = 0.25
FAR = 0.7
INSIDE = 0.4
Floats = npt.NDArray[np.float64]


class Pair(NamedTuple):
    """Blocks of the reference and of the page that belong together, by number; one side may have none."""

    reference: tuple[int, ...]
    page: tuple[int, ...]


def distances(reference: Sequence[str], page: Sequence[str]) -> Floats:
    """Edit distances / the longer length of each pair; no text may be empty."""
    found: Floats = process.cdist(
        reference, page, scorer=Levenshtein.normalized_distance, dtype=np.float64, score_hint=NEAR
    )
    return found


def near_distances(reference: Sequence[str], page: Sequence[str]) -> Floats:
    """The same, of pairs that are near; 1 for others."""
    found: Floats = process.cdist(
        reference, page, scorer=Levenshtein.normalized_distance, dtype=np.float64, score_cutoff=NEAR
    )
    return found


def _distances_of_the_far(reference: Sequence[str], page: Sequence[str]) -> Floats:
    """The same, of pairs that are near and of blocks that are near no other; of the page's only if these are fewer."""
    costs = near_distances(reference, page)
    rows = np.flatnonzero(costs.min(axis=1) >= NEAR).tolist()
    if rows:
        costs[rows] = distances([reference[row] for row in rows], page)
    columns = np.flatnonzero(costs.min(axis=0) >= NEAR).tolist()
    if columns and len(page) < len(reference):
        costs[:, columns] = distances(reference, [page[column] for column in columns])
    return costs


def simple_match(reference: Sequence[str], page: Sequence[str]) -> list[Pair]:
    """Pairs with the smallest sum of distances; what is left of the page stands together."""
    if not page:
        return [Pair((number,), ()) for number in range(len(reference))]
    alone = len(reference) == len(page) == 1
    partner = {0: 0} if alone else dict(cheapest_pairs(distances(reference, page))) if reference else {}
    pairs = [Pair((number,), (partner[number],) if number in partner else ()) for number in range(len(reference))]
    left = tuple(sorted(set(range(len(page))) - set(partner.values())))
    return pairs + [Pair((), left)] * bool(left)


def quick_match(reference: Sequence[str], page: Sequence[str]) -> list[Pair]:
    """All blocks of both sides in pairs; no text may be empty."""
    if not reference:
        return [Pair((), (number,)) for number in range(len(page))]
    if not page:
        return [Pair((number,), ()) for number in range(len(reference))]
    if len(reference) == len(page) == 1:
        return [Pair((0,), (0,))]
    return _with_rest(partners_of_blocks(reference, page), reference, page)


def partners_of_blocks(
    reference: Sequence[str], page: Sequence[str], never_inside: Container[int] = ()
) -> dict[tuple[int, ...], list[int]]:
    """The blocks of the reference for blocks and runs of the page, by steps 1 to 3; some may have none.

    Step 3 is not taken for the blocks of the reference that are `never_inside`.
    """
    costs = _distances_of_the_far(reference, page)
    parts = _joined(costs, reference, page)
    if len(parts) < len(page):
        page_parts = [" ".join(page[number] for number in part) for part in parts]
        costs = _distances_of_the_far(reference, page_parts)
    else:
        page_parts = list(page)
    pairs = clear_pairs(costs)
    if pairs is None:
        costs = distances(reference, page_parts)
        pairs = cheapest_pairs(costs)
    partners: dict[tuple[int, ...], list[int]] = {}
    taken = set()
    for row, column in pairs:
        if costs[row, column] <= FAR:
            partners[parts[column]] = [row]
            taken.add(row)
    lonely = [number for number in range(len(reference)) if number not in taken and number not in never_inside]
    for number, text in enumerate(page):
        inside = [row for row in lonely if contains(text, reference[row])]
        if inside:
            partners.setdefault((number,), []).extend(row for row in inside if row not in taken)
            taken.update(inside)
    return partners


def _with_rest(partners: dict[tuple[int, ...], list[int]], reference: Sequence[str], page: Sequence[str]) -> list[Pair]:
    """The pairs, and what is left."""
    pairs = [Pair(tuple(sorted(rows)), blocks) for blocks, rows in partners.items() if rows]
    used = {number for blocks in partners for number in blocks}
    # As in the benchmark, what is left is in the order of Python's sets.
    lonely = list(set(range(len(reference))) - {row for pair in pairs for row in pair.reference})
    left = list(set(range(len(page))) - used)
    if not left:
        return pairs + [Pair((row,), ()) for row in lonely] * 2  # the benchmark counts them twice
    if not lonely:
        return [*pairs, Pair((), tuple(left))]
    edits = process.cdist(
        [reference[row] for row in lonely], [page[n] for n in left], scorer=Levenshtein.distance, dtype=np.int32
    )
    last = cheapest_pairs(edits.astype(np.float64))
    pairs += [Pair((lonely[row],), (left[column],)) for row, column in last]
    paired = {row for row, _ in last}
    return pairs + [Pair((number,), ()) for row, number in enumerate(lonely) if row not in paired]


def _joined(costs: Floats, reference: Sequence[str], page: Sequence[str]) -> list[tuple[int, ...]]:
    """The blocks of the page, those of a run together."""
    near = costs < NEAR
    far_rows = np.flatnonzero(~near.any(axis=1)).tolist()
    far_columns = np.flatnonzero(~near.any(axis=0)).tolist()
    parts: list[tuple[int, ...]] = [(number,) for number in range(len(page))]
    if not far_columns:
        return parts
    runs = []
    for row in far_rows:
        runs.append(nearest_run(reference[row], page, far_columns, costs[row]))
    for run in without_overlaps(runs):
        at = parts.index((run[0],))
        parts[at : at + len(run)] = [run]
    return parts


def contains(text: str, part: str) -> bool:
    """True if some stretch of the text as long as the part differs from it in less than .4 of its characters."""
    return found_within(text, part, INSIDE, strictly=True)

"""Runs of blocks of a page that together come near a text of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.metrics.omnidocbench.stretches import lost_letters

MERGED = 0.6
MANY = 200
"""Blocks from which on the distances of all runs are computed at once."""
SHORT = 64
"""Letters of a text whose runs are short."""


class Run(NamedTuple):
    blocks: tuple[int, ...]
    cost: float


def nearest_run(text: str, page: Sequence[str], starts: Sequence[int], costs: npt.NDArray[np.float64]) -> Run:
    """Of the runs of blocks that begin at one of the `starts` the nearest one, with its distance / longer length.

    A run grows while that brings it nearer, and has only blocks of `starts`, which are found in the text with .6 of
    them wrong. `costs` are those of single blocks.
    """
    if len(starts) > MANY and len(text) > SHORT:
        return _nearest_of_many(text, page, starts, costs)
    own = set(starts)
    return min((_grown(text, page, start, own, costs) for start in starts), key=lambda run: run.cost)


def _grown(text: str, page: Sequence[str], start: int, own: set[int], costs: npt.NDArray[np.float64]) -> Run:
    end, written, cost = start + 1, page[start], float(costs[start])
    while end in own:
        merged = f"{written} {page[end]}"
        longer = max(len(text), len(merged))
        nearer = Levenshtein.distance(text, merged, score_cutoff=int(cost * longer) + 1) / longer
        if nearer > cost or not found_within(text, page[end], MERGED, strictly=True):
            break
        if end == start + 1 and not found_within(text, page[start], MERGED):
            break
        end, written, cost = end + 1, merged, nearer
        if len(merged) > len(text):
            break
    return Run(tuple(range(start, end)), cost)


def _nearest_of_many(text: str, page: Sequence[str], starts: Sequence[int], costs: npt.NDArray[np.float64]) -> Run:
    """The same, in O(letters of the text * letters of the page)."""
    lost = lost_letters(text, " ".join(page))
    lengths = np.array([len(block) for block in page])
    ends = np.cumsum(lengths + 1) - 1
    begins = ends - lengths
    fits = np.zeros(len(page), dtype=bool)
    fits[starts] = [found_within(text, page[start], MERGED, strictly=True) for start in starts]
    best = Run((), np.inf)
    for start in starts:
        cost, end = float(costs[start]), start + 1
        if end < len(page) and fits[end] and found_within(text, page[start], MERGED):
            last = int(np.searchsorted(ends, begins[start] + len(text), side="right")) + 1  # the first that is longer
            merged = ends[end:last] - begins[start]
            edits = len(text) - merged + lost(int(begins[start]), merged)
            values = np.concatenate(([cost], edits / np.maximum(len(text), merged)))
            grows = fits[end:last] & (values[1:] <= values[:-1])
            grown = len(grows) if grows.all() else int(grows.argmin())
            cost, end = float(values[grown]), end + grown
        if cost < best.cost:
            best = Run(tuple(range(start, end)), cost)
    return best


def found_within(text: str, part: str, share: float, strictly: bool = False) -> bool:
    """True if a stretch of the text that is as long as the part has at most (strictly: less than) so many edits."""
    length, last = len(part), len(text) - len(part)
    if length == 0 or last < 0:
        return False
    if part in text:
        return True
    most = int(share * length)
    starts = [(0, last)]
    while starts:
        first, end = starts.pop()
        fewest = most + end - first  # to delete all but one stretch, and to edit that
        edits = Levenshtein.distance(text[first : end + length], part, score_cutoff=fewest)
        if edits > fewest:
            continue
        if first < end:
            middle = (first + end) // 2
            starts += ((middle + 1, end), (first, middle))
        elif edits / length < share or (not strictly and edits / length == share):
            return True
    return False


def without_overlaps(runs: Sequence[Run]) -> list[tuple[int, ...]]:
    """Of runs that overlap, those of the way to choose some of them with the smallest mean cost."""
    if not runs:
        return []
    ordered = sorted(runs, key=lambda run: run.blocks[0])
    groups = [[ordered[0]]]
    for run in ordered[1:]:
        if any(set(run.blocks) & set(other.blocks) for other in groups[-1]):
            groups[-1].append(run)
        else:
            groups.append([run])
    chosen: list[tuple[int, ...]] = []
    for group in groups:
        ways = [[group[0]]]
        for run in group[1:]:
            placed = False
            for way in ways:
                same = next((other for other in way if other.blocks == run.blocks), None)
                if same is not None:
                    placed = True
                    if same.cost > run.cost:
                        way.remove(same)
                        way.append(run)
                elif not any(set(run.blocks) & set(other.blocks) for other in way):
                    way.append(run)
                    placed = True
            if not placed:
                ways.append([run])
        best = min(ways, key=lambda way: sum(run.cost for run in way) / len(way))
        chosen += [run.blocks for run in best]
    return chosen

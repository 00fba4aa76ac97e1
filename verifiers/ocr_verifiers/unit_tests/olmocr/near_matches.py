"""Where a text occurs on a page within some edits, as olmOCR's library (fuzzysearch 0.8.1) finds it.

With k edits and a pattern of m characters there are three searches:
    k = 0                  every exact occurrence, including overlapping ones
    m // (k + 1) >= 3      seeds: each exact hit of a piece of the pattern is extended to the right by the prefix of
                           the page that costs the fewest edits (the longest, if several do), then likewise to the
                           left with the remaining edits
    otherwise              candidates that skip characters greedily: some matches within k edits are missed
Near matches that overlap, directly or through others, count as one: the one with the fewest edits, then the longest. If
several remain, olmOCR takes an arbitrary one (the order of a set); here it is the first.

Whatever that library answers within seconds is reproduced. Where it would take far longer (a page on which seeds hit
nearly everywhere, or k > 15 in the greedy search), strict mode's exact search is used instead.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.text.fuzzy_search import Match, allowed_edits, extension, first_match, last_match, near_ends

_SHORTEST_SEED = 3
_MAX_GREEDY_EDITS = 15
_MAX_WORK = {True: 6_000_000, False: 300_000}
"""Limit on pattern characters times edits, summed over hits; olmOCR takes seconds for this. By whether seeds have at
least 6 characters: shorter ones hit anywhere."""
_MAX_HITS = 3000
_NONE = 127
"""Edits of a candidate that does not exist."""
_STARTS_AT_ONCE = 1 << 15


def starts(pattern: str, text: str, max_edits: int) -> tuple[int, int] | None:
    """Where the first and the last near match start; None if there are none."""
    edits = allowed_edits(pattern, max_edits)
    if edits == 0:
        first = text.find(pattern) if pattern else -1
        return None if first < 0 else (first, text.rfind(pattern))
    matches: set[Match] | None = None
    if len(pattern) // (edits + 1) >= _SHORTEST_SEED:
        matches = _around_seeds(pattern, text, edits)
    elif next(near_ends(pattern, text, edits), None) is None:
        return None
    elif edits <= _MAX_GREEDY_EDITS:
        matches = set(_greedy(pattern, text, edits))
    if matches is None:
        first_found, last_found = first_match(pattern, text, edits), last_match(pattern, text, edits)
        return (first_found.start, last_found.start) if first_found and last_found else None
    places = [place.start for place in consolidated(matches)]
    return (min(places), max(places)) if places else None


def consolidated(matches: set[Match]) -> Iterator[Match]:
    """One match per place; matches that overlap are one place."""
    best: Match | None = None
    end = 0
    for match in sorted(matches):
        if best is not None and match.start < end:
            end = max(end, match.end)
            best = min(best, match, key=lambda m: (m.distance, m.start - m.end, m.start))
            continue
        if best is not None:
            yield best
        best, end = match, match.end
    if best is not None:
        yield best


def _around_seeds(pattern: str, text: str, max_edits: int) -> set[Match] | None:
    """The match around each hit of a seed; None if there are too many different contexts to check."""
    size = len(pattern) // (max_edits + 1)
    backwards = pattern[::-1]
    reach = len(pattern) + max_edits
    matches: set[Match] = set()
    exact: set[int] = set()
    # A page that loops has the same context many times.
    known: dict[tuple[int, str, str], tuple[int, int, int] | None] = {}
    hits = 0
    max_known = (_MAX_WORK[size >= 6] + 100 * len(text)) // (len(pattern) * max_edits)
    for offset in range(0, len(pattern) - size + 1, size):
        seed, before, after = (
            pattern[offset : offset + size],
            backwards[len(pattern) - offset :],
            pattern[offset + size :],
        )
        stop = min(len(text), len(text) - len(after) + max_edits)
        at = text.find(seed, max(0, offset - max_edits), stop)
        while at >= 0:
            if at - offset not in exact:
                ahead, behind = text[at + size : at - offset + reach], text[max(0, at - offset - max_edits) : at]
                hits += 1
                key = offset, behind, ahead
                if key not in known:
                    if len(known) >= max_known or hits > _MAX_HITS + len(text) // 2:
                        return None
                    known[key] = _surroundings(before, behind, after, ahead, max_edits)
                found = known[key]
                if found is not None:
                    distance, left, right = found
                    matches.add(Match(at - left, at + size + right, distance))
                    if distance == 0:
                        exact.add(at - left)
            at = text.find(seed, at + 1, stop)
    return matches


def _surroundings(before: str, behind: str, after: str, ahead: str, max_edits: int) -> tuple[int, int, int] | None:
    """The edits of a seed's match, and its characters to the left and right of the seed; None if there is no match.

    `before` (reversed) and `after` are the rest of the pattern; `behind` and `ahead` are the page around the hit.
    """
    right = _extension(after, ahead, max_edits)
    if right is None:
        return None
    edits = max_edits - right[0]
    left = _extension(before, behind[::-1][: len(before) + edits], edits)
    return None if left is None else (right[0] + left[0], left[1], right[1])


def _extension(pattern: str, text: str, max_edits: int) -> tuple[int, int] | None:
    """`fuzzy_search.extension`, but it stops earlier on short patterns and may miss an equally good longer prefix.

    For a pattern of up to max(10, 2 * max_edits) characters, fuzzysearch computes row by row, and stops at the first
    row that ends worse than the best one and contains nothing better.
    """
    found = extension(pattern, text, max_edits)
    if found is None or found[0] == 0 or len(pattern) > max(10, 2 * max_edits):
        return found
    distance, longest = found
    shortest = len(pattern) - distance
    as_good = [n for n in range(max(0, shortest), longest) if Levenshtein.distance(pattern, text[:n]) == distance]
    if not as_good or longest - as_good[0] == len(as_good):
        return found  # no row in between was worse
    best, length = len(pattern), 0
    row = list(range(1, len(pattern) + 1))
    for n, character in enumerate(text[:longest], 1):
        diagonal, value = n - 1, n
        for i, wanted in enumerate(pattern):
            above = row[i]
            value = min(diagonal + (character != wanted), above + 1, value + 1)
            row[i], diagonal = value, above
        if value <= best:
            best, length = value, n
        elif min(row) >= best:
            break
    return best, length


def _greedy(pattern: str, text: str, max_edits: int) -> Iterator[Match]:
    """For each start, the best and the longest match that the candidate search finds, with their fewest edits.

    A candidate is a start on the page, a number i of consumed pattern characters, and the edits spent. It starts at a
    page character that is among the first k + 1 of the pattern, at its first occurrence there, having skipped the
    pattern characters before it. Then, for every further character of the page: if it is the expected one, it is
    consumed, with no alternative. If not, and an edit is left, the candidate skips the page's character, or both
    characters, or as many pattern characters as it takes to reach the page's character (or the pattern's end).

    Among candidates with the same start and i only the cheapest matters. So `spent[i]` holds the edits for all starts
    at once, _NONE where there is no candidate: bounded work, where the library's list of them grows exponentially.
    """
    size = len(pattern)
    # Characters as small numbers; 0 is a character that the pattern does not contain.
    numbers = {character: n for n, character in enumerate(dict.fromkeys(pattern), 1)}
    wanted = [numbers[character] for character in pattern]
    codes = np.fromiter((numbers.get(character, 0) for character in text), dtype=np.uint8, count=len(text))
    entries = np.full(len(numbers) + 1, _NONE, dtype=np.uint8)
    for i, number in reversed(list(enumerate(wanted[: max_edits + 1]))):
        entries[number] = i
    entry = entries[codes]
    everywhere = np.flatnonzero(entry <= max_edits)
    for chunk in range(0, len(everywhere), _STARTS_AT_ONCE):
        begins = everywhere[chunk : chunk + _STARTS_AT_ONCE]
        found = _Found(begins, max_edits)
        spent = np.full((size + 1, len(begins)), _NONE, dtype=np.uint8)
        spent[entry[begins] + 1, np.arange(len(begins))] = entry[begins]
        which = np.arange(len(begins))
        length = 1
        found.add(which, spent[size], length)
        while len(which):
            over = begins[which] + length >= len(codes)
            if over.any():
                # At the end of the page a candidate skips the rest of the pattern.
                rest = spent[:size] + np.arange(size, 0, -1, dtype=np.uint8)[:, None]
                found.add(which[over], rest[:, over].min(axis=0), length)
                which, spent = which[~over], spent[:, ~over]
            at = begins[which] + length
            spent = _step(spent, codes[at], wanted, at + 1 == len(codes))
            length += 1
            found.add(which, spent[size], length)
            alive = spent[:size].min(axis=0) <= max_edits
            if np.count_nonzero(alive) < 0.75 * len(alive):
                which, spent = which[alive], spent[:, alive]
                if not len(which):
                    break
        yield from found.matches()


class _Found:
    """For each start, the best match (fewest edits, then longest) and the longest match."""

    def __init__(self, begins: npt.NDArray[np.int64], max_edits: int) -> None:
        self.begins, self.max_edits = begins, max_edits
        self.distance = np.full(len(begins), _NONE, dtype=np.uint8)
        self.length = np.zeros(len(begins), dtype=np.int64)
        self.longest = np.zeros(len(begins), dtype=np.int64)
        self.distance_of_longest = np.full(len(begins), _NONE, dtype=np.uint8)

    def add(self, which: npt.NDArray[np.int64], edits: npt.NDArray[np.uint8], length: int) -> None:
        """Adds matches of `length` characters from the starts `which`. Lengths must be in ascending order."""
        near = edits <= self.max_edits
        which, edits = which[near], edits[near]
        longer = self.longest[which] < length
        edits = np.where(longer, edits, np.minimum(edits, self.distance_of_longest[which]))
        self.longest[which], self.distance_of_longest[which] = length, edits
        better = edits <= self.distance[which]
        self.distance[which[better]], self.length[which[better]] = edits[better], length

    def matches(self) -> Iterator[Match]:
        for i in np.flatnonzero(self.distance <= self.max_edits).tolist():
            start = int(self.begins[i])
            yield Match(start, start + int(self.length[i]), int(self.distance[i]))
            yield Match(start, start + int(self.longest[i]), int(self.distance_of_longest[i]))


def _step(
    spent: npt.NDArray[np.uint8], characters: npt.NDArray[np.uint8], wanted: list[int], last: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """All candidates after one more character of the page each; `last`: it is the last one of the page.

    Conditions are bit operations, which is faster: x | _NONE is no candidate, x | 0 is x.
    """
    size = len(wanted)
    after = np.full_like(spent, _NONE)
    at_end = last.view(np.uint8) * np.uint8(_NONE) if last.any() else None
    # Candidates that skip pattern characters in search of this one, by the pattern character they are at.
    looking = np.full_like(characters, _NONE)
    for i in range(size):
        equal = (characters == wanted[i]).view(np.uint8) * np.uint8(_NONE)
        stuck = spent[i] | equal
        consumed = np.minimum(spent[i], looking) | (equal ^ np.uint8(_NONE))
        paid = stuck + np.uint8(1)
        np.minimum(after[i], paid, out=after[i])
        if i + 1 < size:
            np.minimum(consumed, paid if at_end is None else paid | at_end, out=consumed)
        after[i + 1] = consumed
        looking = np.minimum(looking | equal, stuck) + np.uint8(1)
    np.minimum(after[size], looking, out=after[size])
    return np.minimum(after, np.uint8(_NONE))

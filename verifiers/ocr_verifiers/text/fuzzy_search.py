"""Approximate substring search: exact answers in bounded time.

D[e] is the smallest Levenshtein distance between the pattern and any substring of the text that ends at e
(semi-global alignment). It is computed with bit vectors in Python integers, one step per character of text:
G. Myers, "A fast bit-vector algorithm for approximate string matching based on dynamic programming", J. ACM
46(3), 1999, in H. Hyyro's form (2003). That is O(len(text)) big-integer steps whatever the number of edits.
Few characters need it: every match contains a seed, a piece of the pattern without edits (`_regions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

_SHORTEST_SEED = 4
"""Shorter seeds are found nearly everywhere; searching the whole text is then just as fast."""
_MAX_HITS = 32
"""A text with more seed hits than this plus one per 32 characters repeats itself and is searched whole."""


class Match(NamedTuple):
    """text[start:end] is `distance` edits from the pattern."""

    start: int
    end: int
    distance: int


def allowed_edits(pattern: str, max_diffs: int) -> int:
    """`max_diffs`, but never more than half of the pattern: a text that shares less with it is not a match."""
    return min(max_diffs, len(pattern) // 2)


def contains(pattern: str, text: str, max_edits: int) -> bool:
    """True if some substring of the text is within `max_edits` edits of the pattern."""
    if pattern in text:
        return True
    if max_edits == 0:
        return False
    regions = _regions(pattern, text, max_edits, enough=1)
    return bool(regions) if regions is not None else next(near_ends(pattern, text, max_edits), None) is not None


def surely_precedes(first: str, second: str, text: str, first_edits: int, second_edits: int) -> bool:
    """True if a quick look shows that the first match of `first` starts before the last match of `second`.

    This is certain if both occur exactly and in this order (no exact occurrence of `first` starts before its first
    match, and none of `second` after its last), or if the region of the first match ends before that of the last one
    begins. False means undecided.
    """
    if 0 <= text.find(first) < text.rfind(second):
        return True
    firsts = _regions(first, text, first_edits)
    if not firsts or firsts[0][1] > len(text) - len(second) + second_edits:
        return False
    seconds = _regions(second, text[firsts[0][1] :], second_edits, enough=1)
    return bool(seconds)


def first_match(pattern: str, text: str, max_edits: int) -> Match | None:
    """The first match: an end with D <= max_edits that no other end within max_edits of it beats (ties: first).

    Ends next to a match are also near, one edit worse per character; they belong to the same match.
    """
    best: tuple[int, int] | None = None
    for end, distance in near_ends(pattern, text, max_edits):
        if best is not None and end - best[0] > max_edits:
            break
        if best is None or distance < best[1]:
            best = end, distance
    return _spanned(pattern, text, *best, max_edits) if best else None


def last_match(pattern: str, text: str, max_edits: int) -> Match | None:
    """The last match; a match is defined as in `first_match`."""
    ends = list(near_ends(pattern, text, max_edits, last_region=True))
    if not ends:
        return None
    best = len(ends) - 1
    for i in range(len(ends) - 1, -1, -1):
        if ends[best][0] - ends[i][0] > max_edits:
            break
        if ends[i][1] <= ends[best][1]:
            best = i
    return _spanned(pattern, text, *ends[best], max_edits)


def near_ends(pattern: str, text: str, max_edits: int, *, last_region: bool = False) -> Iterator[tuple[int, int]]:
    """Every (e, D[e]) with D[e] <= max_edits, ascending in e; for 0 <= max_edits < len(pattern).

    `last_region`: only the ends around the last match; all others are more than max_edits away from them.
    """
    assert 0 <= max_edits < len(pattern), "an empty substring would match"
    if max_edits == 0:
        at = text.rfind(pattern) if last_region else text.find(pattern)
        while at >= 0:
            yield at + len(pattern), 0
            at = text.find(pattern, at + 1)
        return
    regions = _regions(pattern, text, max_edits)
    if regions is None:
        regions = [(0, len(text))]
    for start, stop in regions[-1:] if last_region else regions:
        for offset, distance in enumerate(_distances(pattern, text[start:stop]), start + 1):
            if distance <= max_edits:
                yield offset, distance


def _spanned(pattern: str, text: str, end: int, distance: int, max_edits: int) -> Match:
    """The match that ends at `end`, with the earliest start that gives its distance."""
    window = text[max(0, end - len(pattern) - max_edits) : end]
    backwards = _distances(pattern[::-1], window[::-1], anchored=True)
    length = max(n for n, d in enumerate(backwards, 1) if d == distance)
    return Match(end - length, end, distance)


def extension(pattern: str, text: str, max_edits: int) -> tuple[int, int] | None:
    """(d, n): the fewest edits d that turn the pattern into a prefix of the text, and the longest such prefix's length.

    None if d is above `max_edits`. This is the cost of extending an exact hit to one side.
    """
    size = len(pattern)
    if text.startswith(pattern):
        return 0, size
    if not max_edits:
        return None
    # The best prefix differs in length from the pattern by at most d, so this prefix is within 2d edits.
    distance = Levenshtein.distance(pattern, text[:size], score_cutoff=2 * max_edits)
    if distance > 2 * max_edits:
        return None
    best, length = max_edits + 1, 0
    reach = min(max_edits, distance)
    for n in range(min(size + reach, len(text)), max(0, size - reach) - 1, -1):
        if abs(n - size) < best and (edits := Levenshtein.distance(pattern, text[:n], score_cutoff=best - 1)) < best:
            best, length = edits, n
    return (best, length) if best <= max_edits else None


def _regions(pattern: str, text: str, max_edits: int, enough: int | None = None) -> list[tuple[int, int]] | None:
    """Regions of the text, ascending and disjoint, that contain every match completely, and at least one each.

    The pattern is cut into max_edits + 1 seeds: an alignment with max_edits edits leaves at least one seed untouched
    (pigeonhole), so every match contains an exact hit of a seed. Hits that do not extend to a match within max_edits
    are skipped. `enough`: stop after this many hits that extend to a match.
    None if the seeds are so short, or the hits so many, that searching the whole text is better.
    """
    size = len(pattern) // (max_edits + 1)
    if size < _SHORTEST_SEED:
        return None
    backwards = pattern[::-1]
    reach = len(pattern) + max_edits
    verified: set[int] = set()
    hits = 0
    for offset in range(0, size * (max_edits + 1), size):
        seed, rest = pattern[offset : offset + size], pattern[offset + size :]
        at = text.find(seed)
        while at >= 0:
            start = at - offset - max_edits
            if start not in verified:
                hits += 1
                if hits > _MAX_HITS + len(text) // 32:
                    return None
                ahead = extension(rest, text[at + size : at - offset + reach], max_edits)
                if ahead is not None:
                    before = text[max(0, start) : at][::-1]
                    if extension(backwards[len(pattern) - offset :], before, max_edits - ahead[0]) is not None:
                        verified.add(start)
                        if len(verified) == enough:
                            break
            at = text.find(seed, at + 1)
        if len(verified) == enough:
            break
    regions = [(max(0, start), min(len(text), start + reach + max_edits)) for start in sorted(verified)]
    merged: list[tuple[int, int]] = []
    for start, stop in regions:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged


def _distances(pattern: str, text: Iterable[str], anchored: bool = False) -> Iterator[int]:
    """D after each character. `anchored`: the distance to the whole text so far, not to its best suffix."""
    full = (1 << len(pattern)) - 1
    last = 1 << (len(pattern) - 1)
    occurs: dict[str, int] = {}
    for i, character in enumerate(pattern):
        occurs[character] = occurs.get(character, 0) | 1 << i
    # Bit i of `up` (`down`): the score increases (decreases) by one from row i to row i + 1 of the current column.
    up, down, distance = full, 0, len(pattern)
    for character in text:
        equal = occurs.get(character, 0)
        vertical = equal | down
        horizontal = (((equal & up) + up) ^ up) | equal
        right_up = down | ~(horizontal | up)
        right_down = up & horizontal
        if right_up & last:
            distance += 1
        elif right_down & last:
            distance -= 1
        right_up = right_up << 1 | anchored
        right_down <<= 1
        up = (right_down | ~(vertical | right_up)) & full
        down = right_up & vertical & full
        yield distance

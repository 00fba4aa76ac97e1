"""Approximate substring search: exact answers in bounded time.

D[e] is the least Levenshtein distance between the pattern and any substring of the text that ends at e
(semi-global alignment). It is read off bit vectors held in Python integers, one step per character of text:
G. Myers, "A fast bit-vector algorithm for approximate string matching based on dynamic programming", J. ACM
46(3), 1999, in H. Hyyro's form (2003). That is O(len(text)) big-integer steps whatever the number of edits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

_SHORTEST_SEED = 4
"""Seeds shorter than this are found nearly everywhere: reading the whole text is then as fast."""


class Match(NamedTuple):
    """text[start:end] is `distance` edits from the pattern."""

    start: int
    end: int
    distance: int


def allowed_edits(pattern: str, max_diffs: int) -> int:
    """`max_diffs`, but never more than half of the pattern: what shares less with it is no match."""
    return min(max_diffs, len(pattern) // 2)


def contains(pattern: str, text: str, max_edits: int) -> bool:
    """True if some substring of the text is within `max_edits` edits of the pattern."""
    return next(iter(near_ends(pattern, text, max_edits)), None) is not None


def first_match(pattern: str, text: str, max_edits: int) -> Match | None:
    """The first match: an end with D <= max_edits that no end within max_edits of it beats (ties: first).

    The ends around a match are near too, one edit worse per character; they are the same match.
    """
    ends = list(near_ends(pattern, text, max_edits))
    if not ends:
        return None
    best = 0
    for i, (end, distance) in enumerate(ends):
        if end - ends[best][0] > max_edits:
            break
        if distance < ends[best][1]:
            best = i
    return _spanned(pattern, text, *ends[best], max_edits)


def last_match(pattern: str, text: str, max_edits: int) -> Match | None:
    """The last match, by the definition of `first_match`."""
    ends = list(near_ends(pattern, text, max_edits))
    if not ends:
        return None
    best = len(ends) - 1
    for i in range(len(ends) - 1, -1, -1):
        if ends[best][0] - ends[i][0] > max_edits:
            break
        if ends[i][1] <= ends[best][1]:
            best = i
    return _spanned(pattern, text, *ends[best], max_edits)


def near_ends(pattern: str, text: str, max_edits: int) -> Iterator[tuple[int, int]]:
    """Every (e, D[e]) with D[e] <= max_edits, ascending in e; for 0 <= max_edits < len(pattern)."""
    assert 0 <= max_edits < len(pattern), "an empty substring would match"
    if max_edits == 0:
        at = text.find(pattern)
        while at >= 0:
            yield at + len(pattern), 0
            at = text.find(pattern, at + 1)
        return
    for start, stop in _regions(pattern, text, max_edits):
        for offset, distance in enumerate(_distances(pattern, text[start:stop]), start + 1):
            if distance <= max_edits:
                yield offset, distance


def _spanned(pattern: str, text: str, end: int, distance: int, max_edits: int) -> Match:
    """The match that ends at `end`, with the earliest start that attains its distance."""
    window = text[max(0, end - len(pattern) - max_edits) : end]
    backwards = _distances(pattern[::-1], window[::-1], anchored=True)
    length = max(n for n, d in enumerate(backwards, 1) if d == distance)
    return Match(end - length, end, distance)


def _regions(pattern: str, text: str, max_edits: int) -> list[tuple[int, int]]:
    """Stretches of the text, ascending and disjoint, that hold every match whole.

    Cut the pattern into max_edits + 1 seeds: an alignment with max_edits edits leaves one seed untouched
    (pigeonhole), so each match surrounds an exact occurrence of a seed.
    """
    whole = [(0, len(text))]
    size = len(pattern) // (max_edits + 1)
    if size < _SHORTEST_SEED:
        return whole
    regions: list[tuple[int, int]] = []
    for i in range(max_edits + 1):
        offset = i * size
        seed = pattern[offset : offset + size]
        at = text.find(seed)
        while at >= 0:
            start, stop = at - offset - max_edits, at - offset + len(pattern) + max_edits
            regions.append((max(0, start), min(len(text), stop)))
            if len(regions) > len(text) // 8:
                return whole
            at = text.find(seed, at + 1)
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(regions):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged


def _distances(pattern: str, text: Iterable[str], anchored: bool = False) -> Iterator[int]:
    """D after each character; anchored: the distance to the whole text so far, not to its best suffix."""
    full = (1 << len(pattern)) - 1
    last = 1 << (len(pattern) - 1)
    occurs: dict[str, int] = {}
    for i, character in enumerate(pattern):
        occurs[character] = occurs.get(character, 0) | 1 << i
    # Bit i of `up` (`down`): the score grows (shrinks) by one from row i to row i + 1 of the current column.
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

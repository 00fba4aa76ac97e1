"""The cheapest way to pair two sequences of formulas in order, one with several in a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

_EQUAL = 1e-12


class _State(NamedTuple):
    """What a way costs: less is better, in this order, but edits are compared by their share of the length."""

    cost: float
    edits: int
    length: int
    inline: int

    def is_better(self, other: _State | None) -> bool:
        if other is None:
            return True
        if abs(self.cost - other.cost) > _EQUAL:
            return self.cost < other.cost
        if bool(self.length) != bool(other.length):
            return bool(self.length)
        share, others = self.edits * other.length, other.edits * self.length
        return share < others if share != others else self.inline < other.inline


def ordered_pairs(
    reference: Sequence[str],
    page: Sequence[str],
    sources: Sequence[object],
    displayed: Sequence[bool],
    inline: Sequence[bool],
    gaps: bool,
    rescued: int,
) -> list[list[int]]:
    """For each text of the reference the numbers of those of the page that belong to it.

    To leave one out costs 1, and a pair its edits / longer length. Texts of the page go together if they are displayed
    formulas in a row, or come from one formula (`sources`); then, with `gaps`, one or two between them may be left out.
    """
    difference = abs(len(reference) - len(page))
    longest = min(len(page), 10 if len(reference) <= 1 or difference < 2 else 12)
    skips = 0 if not gaps else 2 if difference >= 3 else int(difference >= 1 or rescued > 0 or len(page) >= 4)
    span = min(len(page), longest + 2) if gaps else longest

    def runs(run: list[int], left: int) -> Iterator[list[int]]:
        yield run
        if len(run) == longest:
            return
        for following in range(run[-1] + 1, min(len(page), run[0] + span)):
            skipped = following - run[-1] - 1
            if skipped <= left and together([*run, following]):
                yield from runs([*run, following], left - skipped)

    def together(run: list[int]) -> bool:
        if len({sources[number] for number in run}) == 1:
            return True
        return run[-1] - run[0] + 1 == len(run) and all(displayed[number] for number in run)

    @cache
    def edits(number: int, text: str) -> int:
        return Levenshtein.distance(reference[number], text)

    segments = [
        [
            (run[-1] + 1, run, text, len(run) == 1 and inline[start])
            for run in runs([start], skips)
            if (text := " ".join(page[number] for number in run).strip())
        ]
        for start in range(len(page))
    ]
    best: dict[tuple[int, int], _State] = {(0, 0): _State(0.0, 0, 0, 0)}
    before: dict[tuple[int, int], tuple[int, int, list[int] | None]] = {}

    def reach(at: tuple[int, int], state: _State, came_from: tuple[int, int, list[int] | None]) -> None:
        if state.is_better(best.get(at)):
            best[at], before[at] = state, came_from

    for row in range(len(reference) + 1):
        for column in range(len(page) + 1):
            state = best[row, column]
            skipped = state._replace(cost=state.cost + 1.0)
            if column < len(page):
                reach((row, column + 1), skipped, (row, column, None))
            if row == len(reference):
                continue
            reach((row + 1, column), skipped, (row, column, []))
            for end, run, text, is_inline in segments[column] if column < len(page) else ():
                changed, length = edits(row, text), max(len(reference[row]), len(text))
                reached = _State(
                    state.cost + changed / length,
                    state.edits + changed,
                    state.length + length,
                    state.inline + is_inline,
                )
                reach((row + 1, end), reached, (row, column, run))
    found = []
    at = (len(reference), len(page))
    while at in before:
        row, column, part = before[at]
        if part is not None:
            found.append(part)
        at = (row, column)
    return found[::-1]

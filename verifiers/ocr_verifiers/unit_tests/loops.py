"""Verdicts on completions that loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.text.repetition import LONGEST_LEADER, MAX_REPEATS, MIN_REPEAT_LIMIT, SHORT_PHRASE, Loop, find_loops
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail

SHORT_CELL = 4
"""Characters of a cell that tables repeat: 0.00, nil, n/a, do."""

MAX_ROTATED = 400
"""Letters and digits of a phrase that is recognised wherever it begins."""


def repeats(text: str, max_repeats: int = MAX_REPEATS) -> Verdict:
    """Fails a text that loops.

    A phrase of n characters may repeat `max_repeats` times in a row, or 20 * max_repeats / n times if that is
    fewer (about 600 characters at the default of 30), but always 5 times. A phrase without letters and digits may
    fill 1,000 characters instead: tables of contents have dot leaders, forms have rules and blank cells. So may one of
    table cells of at most four characters, such as zeros. White space counts as one space and a table tag as `|`.
    Repetition is literal: a list that numbers its items does not repeat. Two in a row are never a loop.
    """
    return judge_loops(find_loops(text), max_repeats)


def judge_loops(loops: Iterable[Loop], max_repeats: int, allowed: Mapping[str, int] = {}) -> Verdict:
    """The verdict of `repeats`, given the loops of the text.

    `allowed` has what may be repeated longer, from `repeated_lengths`: as often as there, and once more.
    """
    for loop in loops:
        phrase, times, length = loop
        if not any(map(str.isalnum, phrase)) or _short_cells(phrase):
            too_many = length > LONGEST_LEADER
        else:
            longer = max(MIN_REPEAT_LIMIT, SHORT_PHRASE * max_repeats // len(phrase))
            too_many = times > min(max_repeats, longer)
        if too_many and allowed:
            what, amount, once = _content(loop)
            too_many = amount > allowed.get(what, 0) + once
        if too_many:
            return fail(f"{quoted(phrase, 30)} is repeated {times} times in a row")
    return PASS


def repeated_lengths(loops: Iterable[Loop]) -> dict[str, int]:
    """For each phrase that a text repeats, the most letters and digits of it in a row, whatever is between them."""
    lengths: dict[str, int] = {}
    for loop in loops:
        what, amount, _ = _content(loop)
        lengths[what] = max(amount, lengths.get(what, 0))
    return lengths


def _content(loop: Loop) -> tuple[str, int, int]:
    """What a loop repeats, regardless of where it begins and of markup; how long it is, and how long once.

    That is its letters and digits, counted in them; or nothing, counted in characters.
    """
    letters = "".join(filter(str.isalnum, loop.phrase))
    if not letters:
        return "", loop.length, len(loop.phrase)
    period = (letters * 2).find(letters, 1)
    rotations = letters[:period] * 2
    first = min(rotations[i : i + period] for i in range(period)) if period <= MAX_ROTATED else letters[:period]
    return first, loop.times * len(letters), len(letters)


def _short_cells(phrase: str) -> bool:
    if "|" not in phrase:
        return False
    cells = (phrase * 2).split("|")[1:-1]  # twice, because the phrase may begin inside a cell
    return all(len(cell.strip()) <= SHORT_CELL for cell in cells)

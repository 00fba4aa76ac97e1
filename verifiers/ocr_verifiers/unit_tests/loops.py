"""Verdicts on completions that loop."""

from __future__ import annotations

from collections.abc import Iterable

from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.text.repetition import LONGEST_LEADER, MAX_REPEATS, MIN_REPEAT_LIMIT, SHORT_PHRASE, Loop, find_loops
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail


def repeats(text: str, max_repeats: int = MAX_REPEATS) -> Verdict:
    """Fails a text that loops.

    A phrase of n characters may repeat `max_repeats` times in a row, or 20 * max_repeats / n times if that is
    fewer (about 600 characters at the default of 30), but always 5 times. A phrase without letters and digits may
    fill 1,000 characters instead: tables of contents have dot leaders, forms have rules and blank cells. White space
    counts as one space and a table tag as `|`. Repetition is literal: a list that numbers its items does not repeat.
    Two in a row are never a loop.
    """
    return judge_loops(find_loops(text), max_repeats)


def judge_loops(loops: Iterable[Loop], max_repeats: int) -> Verdict:
    """The verdict of `repeats`, given the loops of the text."""
    for phrase, times, length in loops:
        if any(character.isalnum() for character in phrase):
            longer = max(MIN_REPEAT_LIMIT, SHORT_PHRASE * max_repeats // len(phrase))
            too_many = times > min(max_repeats, longer)
        else:
            too_many = length > LONGEST_LEADER
        if too_many:
            return fail(f"{quoted(phrase, 30)} is repeated {times} times in a row")
    return PASS

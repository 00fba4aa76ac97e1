"""How far a page without a reference can be believed when it passes its tests.

Tests look for what is on the page, and hardly for what should not be there: a page that says everything twice, or
nothing but what the tests ask for, passes them all. Where there is a reference, edit similarity sees that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ocr_verifiers.markup.table_parsing import visible
from ocr_verifiers.text.normalize import invisible, strict
from ocr_verifiers.text.repetition import MAX_REPEATS
from ocr_verifiers.unit_tests.loops import judge_loops
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import (
    FootnoteTest,
    FormatTest,
    MathTest,
    OrderTest,
    TableTest,
    TextTest,
    UnitTest,
)

PHRASE = 8
"""Words in a row that a page hardly says twice by chance."""
MOST_REPEATED = 0.4
"""The share of a page's words that may have been said before: refrains and forms do repeat themselves."""
SHORTEST = 3 * PHRASE
"""Words below which a page may repeat itself."""
MOST_UNSEEN = 0.2
"""The share of a page's characters that may print nothing: joiners in Persian and Kannada, comments."""
LEAST_OWN = 0.1
"""The share of letters and digits that the tests do not ask for, below which a page may be a list of their texts."""
FEWEST_ALONE = 3
"""Texts of tests that stand alone on a list, as they do not on a page."""

_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_WORD = re.compile(r"[^\W\d_]+")


class Coherence(NamedTuple):
    """What a page's passed tests are worth."""

    value: float
    """In [0, 1]; 1 for a page that nothing speaks against."""
    why: str = ""


class Asked(NamedTuple):
    """The texts that a page's tests want on it, each once, as unit tests compare texts."""

    texts: tuple[str, ...]
    """The longest first."""
    within: frozenset[str]
    """Those that another one holds: a word, and the sentence it is from."""


def asked_for(tests: Sequence[UnitTest]) -> Asked:
    """What the tests want on the page."""
    texts: set[str] = set()
    for test in tests:
        if isinstance(test, OrderTest):
            texts.update(test.queries)
        elif isinstance(test, TableTest):
            texts.update(test.queries.values())
        elif isinstance(test, FootnoteTest):
            texts.update((test.appears_before_marker or "", test.appears_after_marker or ""))
        elif isinstance(test, FormatTest) or (isinstance(test, TextTest) and test.type == "present"):
            texts.add(test.query)
        elif isinstance(test, MathTest):
            texts.add(strict(test.math))
    longest_first = sorted((text for text in texts if text.strip()), key=lambda text: (-len(text), text))
    joined = "\0".join(longest_first)  # a text that is found before its own place is within a longer one
    starts = 0
    within = set()
    for text in longest_first:
        if joined.find(text) < starts:
            within.add(text)
        starts += len(text) + 1
    return Asked(tuple(longest_first), frozenset(within))


def coherence(page: PreparedPage, asked: Asked, max_repeats: int) -> Coherence:
    """The first of these that speaks against a page.

    - It loops: 0.
    - It is a list of what its tests ask for: 0. Less than a tenth of it is anything else, and of the texts that
      others hold at least three, and half, stand on their own too. A short page that its tests ask for as a whole
      says each of them once, and is no list.
    - More than a fifth of it prints nothing, in comments, scripts and zero-width characters: the share that does.
    - More than 40 % of its words were said before, in phrases of eight or right before themselves, on a page of 24
      words or more: the share that was not. So may a page whose own baseline test allows it more than MAX_REPEATS.
    """
    loops = judge_loops(page.loops, max_repeats)
    if not loops.passed:
        return Coherence(0.0, f"the page loops: {loops.why}")
    if _is_list(page.strict, asked):
        return Coherence(0.0, "the page is a list of what its tests ask for")
    unseen = 1 - len(invisible(visible(page.body))) / len(page.body) if page.body else 0.0
    if unseen > MOST_UNSEEN:
        return Coherence(1 - unseen, f"{unseen:.0%} of the page prints nothing")
    repeated = _repeated(page.strict) if max_repeats <= MAX_REPEATS else 0.0
    if repeated > MOST_REPEATED:
        return Coherence(1 - repeated, f"{repeated:.0%} of the page was said on it before")
    return Coherence(1.0)


def _is_list(text: str, asked: Asked) -> bool:
    if len(asked.within) < FEWEST_ALONE:
        return False
    own, alone = text, 0
    for each in asked.texts:
        cut = own.replace(each, "\0")
        alone += each in asked.within and cut != own
        own = cut
    left, letters = sum(map(str.isalnum, own)), sum(map(str.isalnum, text))
    return left < LEAST_OWN * letters and alone >= max(FEWEST_ALONE, len(asked.within) / 2)


def _repeated(text: str) -> float:
    """The share of the words that were said before; numbers, tags and signs are no words."""
    words = _WORD.findall(_TAG.sub(" ", text).casefold())
    if len(words) < SHORTEST:
        return 0.0
    repeated = bytearray(len(words))
    for at in range(1, len(words)):
        repeated[at] = words[at] == words[at - 1]
    seen: set[tuple[str, ...]] = set()
    for end in range(PHRASE, len(words) + 1):
        phrase = tuple(words[end - PHRASE : end])
        if phrase in seen:
            repeated[end - PHRASE : end] = b"\1" * PHRASE
        seen.add(phrase)
    return sum(repeated) / len(words)

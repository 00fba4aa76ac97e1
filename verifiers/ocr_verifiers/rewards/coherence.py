"""How much the passed tests of a page without a reference are worth.

Tests check what is on the page, and hardly what should not be: a page that says everything twice, or only what its
tests ask for, passes them all. With a reference, edit similarity detects this.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ocr_verifiers.markup.reading import read
from ocr_verifiers.rewards.parts import USUAL_FRONT_MATTER
from ocr_verifiers.text.normalize import invisible, strict, whitespace
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
"""Consecutive words that hardly occur twice on a page by chance."""
MAX_REPEATED = 0.4
"""The share of a page's words that may be repetitions: refrains and forms repeat themselves."""
SHORTEST = 3 * PHRASE
"""Pages with fewer words may repeat themselves."""
MAX_HIDDEN = 0.2
"""The share of a page's characters that may be unread: joiners in Persian and Kannada, comments, attributes."""
MIN_OWN = 0.1
"""If less than this share of letters and digits is not in the tests, the page may be a list of their texts."""
MIN_ALONE = 3
"""A list has at least this many texts of tests apart from the longer texts that contain them."""

_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_WORD = re.compile(r"[^\W\d_]+")


class Coherence(NamedTuple):
    """How much a page's passed tests are worth."""

    value: float
    """In [0, 1]; 1 if there is no objection to the page."""
    why: str = ""


class Asked(NamedTuple):
    """The texts that the tests want on a page, each once, normalised as unit tests compare texts."""

    texts: tuple[str, ...]
    """Longest first."""
    within: frozenset[str]
    """Texts that are part of another one, such as a word of a sentence."""


def asked_for(tests: Sequence[UnitTest]) -> Asked:
    """The texts that the tests want on the page."""
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
    joined = "\0".join(longest_first)  # a text found before its own position is part of a longer one
    starts = 0
    within = set()
    for text in longest_first:
        if joined.find(text) < starts:
            within.add(text)
        starts += len(text) + 1
    return Asked(tuple(longest_first), frozenset(within))


def coherence(page: PreparedPage, asked: Asked, max_repeats: int) -> Coherence:
    """The first objection to a page, of these:

    - It loops: 0.
    - It is a list of what its tests ask for: 0. Less than a tenth of it is anything else, and of the texts that are
      part of others, at least three and at least half also occur on their own. A short page whose tests cover it
      completely contains each of them once, so it is not a list.
    - More than a fifth of it is unread, in comments, scripts, attributes, front matter and zero-width characters: the
      share that is read.
    - More than 40 % of its words are repetitions, in phrases of eight or directly after themselves, on a page of 24
      words or more: the share that is not. A page whose own baseline test allows more than MAX_REPEATS is exempt.
    """
    loops = judge_loops(page.loops, max_repeats)
    if not loops.passed:
        return Coherence(0.0, f"the page loops: {loops.why}")
    if _is_list(page.strict, asked):
        return Coherence(0.0, "the page is a list of what its tests ask for")
    hidden = _hidden(page)
    if hidden > MAX_HIDDEN:
        return Coherence(1 - hidden, f"{hidden:.0%} of the page is not read")
    repeated = _repeated(page.strict) if max_repeats <= MAX_REPEATS else 0.0
    if repeated > MAX_REPEATED:
        return Coherence(1 - repeated, f"{repeated:.0%} of the page repeats what is on it before")
    return Coherence(1.0)


def _hidden(page: PreparedPage) -> float:
    """The share of the page that nobody reads. White space beyond one character does not make up for it."""
    front_matter = max(0, len(page.text) - len(page.body) - USUAL_FRONT_MATTER)
    characters = len(whitespace(page.body)) + front_matter
    unread = read(page.body).hidden + front_matter + len(page.body) - len(invisible(page.body))
    return min(1.0, unread / characters) if characters else 0.0


def _is_list(text: str, asked: Asked) -> bool:
    if len(asked.within) < MIN_ALONE:
        return False
    own, alone = text, 0
    for each in asked.texts:
        cut = own.replace(each, "\0")
        alone += each in asked.within and cut != own
        own = cut
    left, letters = sum(map(str.isalnum, own)), sum(map(str.isalnum, text))
    return left < MIN_OWN * letters and alone >= max(MIN_ALONE, len(asked.within) / 2)


def _repeated(text: str) -> float:
    """The share of words that are repetitions; numbers, tags and signs do not count as words."""
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

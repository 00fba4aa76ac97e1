"""Lines of invented text as letters, reports and lists have them: words by how often they are written, names,
numbers, dates, prices, capitals, spaced-out words, and some strings that nothing but the page tells.

Nothing is quoted: words are drawn one by one, so that what stands on a line is no sentence of anybody.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from ocr_rl.data.synthetic import words

CHARACTERISTIC = {"fr": ("«", "»"), "de": ("„", "“"), "cs": ("„", "“")}


@dataclass(frozen=True)
class Lexicon:
    """Words of one language, and how often each is written."""

    language: str
    words: tuple[str, ...]
    cumulated: tuple[float, ...]
    """Sum of the frequencies up to and including each word; the last one is the total."""

    @staticmethod
    def of(language: str, words: Sequence[str], frequencies: Sequence[float]) -> Lexicon:
        return Lexicon(language, tuple(words), tuple(accumulate(frequencies)))

    def word(self, rng: Random) -> str:
        return self.words[bisect(self.cumulated, rng.random() * self.cumulated[-1])]

    def rare_word(self, rng: Random) -> str:
        """Any word of the list with equal chances, so mostly a rare one."""
        return rng.choice(self.words)


EVERYDAY = Lexicon.of("en", words.COMMON, [1 / (20 + i % 200) for i in range(len(words.COMMON))])
"""The renderer's own short list, of several languages; used where no larger list is at hand."""


@dataclass(frozen=True)
class Line:
    drawn: str
    """What is on the page, with the spaces of a spaced-out word and the double spaces after a sentence."""
    text: str
    """What a transcription says: such a word closed, single spaces."""


def make_line(
    rng: Random, lexicon: Lexicon, alphabet: Collection[str], least: int, most: int, *, unguessable: float = 0.08
) -> Line:
    """A line of `least` to `most` drawn characters, all of them from `alphabet`, or as near as whole characters allow.

    `unguessable` is the share of tokens that are random strings or made-up words.
    """
    target = rng.randint(least, most)
    capitals = rng.random()
    after = 2 if rng.random() < 0.3 else 1
    gap_before = lexicon.language == "fr" and rng.random() < 0.4
    spaced = rng.random() < 0.04
    drawn, begins = "", rng.random() < 0.3
    tokens: list[str] = []
    while len(drawn) < target:
        token = _token(rng, lexicon, alphabet, unguessable)
        if begins or rng.random() < 0.07:
            token = token[:1].upper() + token[1:]
        if capitals < 0.06 or rng.random() < 0.015:
            token = token.upper()
        token, begins = _punctuated(rng, token, lexicon.language, gap_before)
        if not set(token.replace(" ", "")) <= set(alphabet):
            begins = False
            continue
        shown = token
        if spaced and len(token) > 3 and token.isalpha() and 2 * len(token) + len(drawn) < most:
            shown, spaced = " ".join(token), False
        gap = " " * (after if tokens and tokens[-1][-1:] in ".!?" else 1) if drawn else ""
        if len(drawn) + len(gap) + len(shown) > most:
            shown = token = _cut(rng, token, most - len(drawn) - len(gap))
            if not shown:
                if drawn:
                    break
                continue
            drawn += gap + shown
            tokens.append(token)
            break
        drawn += gap + shown
        tokens.append(token)
    drawn = drawn.strip()
    return Line(drawn, " ".join(" ".join(tokens).split()))


def heading(rng: Random, lexicon: Lexicon, alphabet: Collection[str], other: Line) -> Line:
    """A short line of its own: a page number, or a name in capitals; `other` where the alphabet lacks a letter."""
    page = rng.randint(1, rng.choice((9, 99, 999)))
    name = lexicon.rare_word(rng).upper()
    text = rng.choice((f"{page}", f"- {page} -", f"-{page}-", f"{page}.", f"({page})", name, name, name, f"{name}."))
    return Line(text, text) if set(text) <= set(alphabet) else other


def _cut(rng: Random, token: str, room: int) -> str:
    """A token that does not fit: broken with a hyphen, or left out."""
    if room >= 4 and token.isalpha() and rng.random() < 0.7:
        return token[: room - 1] + "-"
    return token[:room].strip() if room > 0 and rng.random() < 0.3 else ""


def _token(rng: Random, lexicon: Lexicon, alphabet: Collection[str], unguessable: float) -> str:
    kind = rng.random()
    if kind < unguessable / 2:
        return words.random_string(rng, "".join(alphabet), rng.randint(1, 7))
    if kind < unguessable:
        return words.made_up_word(rng)
    if kind < unguessable + 0.09:
        return number(rng, lexicon.language)
    if kind < unguessable + 0.13:
        return name(rng, lexicon)
    if kind < unguessable + 0.2:
        return lexicon.rare_word(rng)
    return lexicon.word(rng)


def name(rng: Random, lexicon: Lexicon) -> str:
    """A person's, a place's or an office's: initials, hyphens, abbreviations."""
    form = rng.randrange(6)
    rare = lexicon.rare_word(rng).capitalize()
    if form == 0:
        return f"{rng.choice('ABCDEFGHIJKLMNOPRSTVWZ')}. {rare}"
    if form == 1:
        return rng.choice(("Dr. ", "Mr. ", "M. ", "Mme ", "St. ", "Prof. ", "No. ", "Nr. ", "Gen. ")) + rare
    if form == 2:
        return f"{rare}-{lexicon.rare_word(rng).capitalize()}"
    if form == 3:
        return ".".join(rng.choice("ABCDEFGHIKLMNOPRSTUVZ") for _ in range(rng.randint(2, 4))) + "."
    return rare


def number(rng: Random, language: str) -> str:
    """A count, price, date, time, share, reference or roman numeral, as the language writes it."""
    n = rng.randint(0, 10 ** rng.randint(1, 5))
    comma = language != "en"
    form = rng.randrange(12)
    if form == 0:
        return f"{n:,}".replace(",", "." if comma else ",")
    if form == 1:
        return f"{n / 100:.2f}".replace(".", "," if comma else ".")
    if form == 2:
        return rng.choice((f"${n}", f"£{n}", f"{n} fr.", f"{n} Kč", f"RM {n}", f"{n} F", f"{n}%", f"{n},-"))
    if form == 3:
        return f"{rng.randint(1, 31)}.{rng.randint(1, 12)}.{rng.randint(1850, 2020)}"
    if form == 4:
        return f"{rng.randint(1, 31)}/{rng.randint(1, 12)}/{rng.randint(10, 99)}"
    if form == 5:
        return str(rng.randint(1800, 2020))
    if form == 6:
        return f"{rng.randint(0, 23)}{rng.choice('.:h')}{rng.randint(0, 59):02}"
    if form == 7:
        return f"{rng.randint(1, 20)}{rng.choice(('.', ')', '.)', '°', ' -', ':'))}"
    if form == 8:
        return f"{n}/{rng.randint(1, 99)}-{rng.choice('ABCDEIV')}"
    if form == 9:
        return rng.choice(("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIV", "XIX"))
    return str(n if form == 10 else rng.randint(1, 120))


def _punctuated(rng: Random, token: str, language: str, gap_before: bool) -> tuple[str, bool]:
    """The token with what stands around it, and whether a sentence begins after it."""
    kind = rng.random()
    gap = " " if gap_before else ""
    if kind < 0.07:
        return f"{token}{gap},", False
    if kind < 0.115:
        return f"{token}{gap if rng.random() < 0.5 else ''}.", True
    if kind < 0.14:
        mark = rng.choice(":;!?:;!?…" if rng.random() < 0.2 else ":;!?")
        return f"{token}{' ' if language == 'fr' and rng.random() < 0.6 else ''}{mark}", mark in "!?"
    if kind < 0.15:
        return f"{token} {rng.choice('-–-')}", False
    if kind < 0.165:
        return f"({token})", False
    if kind < 0.185:
        left, right = rng.choice((('"', '"'), ("'", "'"), CHARACTERISTIC.get(language, ("“", "”"))))
        return f"{left}{token}{right}", False
    if kind < 0.195:
        return token + rng.choice(("...", "....", "'s", "'", "/", "*", "=", "-", "--", ".....")), False
    if kind < 0.2 and language == "fr" and re.match(r"[aeiouéh]", token):
        return rng.choice(("l'", "d'", "qu'", "s'", "n'")) + token, False
    return token, False

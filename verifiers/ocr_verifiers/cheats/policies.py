"""Degenerate policies: what a policy may write that is no transcription, and yet might earn something.

Each is a function of what it is told: the true text of the page, its tests, the prompt, and dice. A real policy knows
neither text nor tests; these are given so that a cheat can be as good as cheats of its kind get.
"""

from __future__ import annotations

import base64
import codecs
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from random import Random

from ocr_verifiers.cheats.pages import CheatedPage
from ocr_verifiers.markup.table_parsing import find_tables
from ocr_verifiers.text.normalize import graphemes
from ocr_verifiers.unit_tests.records import (
    FootnoteTest,
    FormatTest,
    MathTest,
    OrderTest,
    TableTest,
    TextTest,
    UnitTest,
)


@dataclass(frozen=True)
class Told:
    """What a policy knows of its page."""

    reference: str
    tests: Sequence[UnitTest]
    prompt: str
    rng: Random
    elsewhere: Sequence[str]
    """The true texts of other pages."""


Policy = Callable[[Told], str]


# Little or nothing


def the_prompt(told: Told) -> str:
    """The prompt instead of the page."""
    return told.prompt


def description(told: Told) -> str:
    """Talk about the page."""
    return "The image shows a scanned page with several paragraphs of text. It is difficult to read in places."


def another_page(told: Told) -> str:
    """A good transcription of the wrong page."""
    return told.elsewhere[0]


def words_of_all_pages(told: Told) -> str:
    """A dictionary that has every word there is, those of the page included."""
    return " ".join(sorted({word for text in (told.reference, *told.elsewhere) for word in text.split()}))


def all_numbers(told: Told) -> str:
    """0 to 9999."""
    return " ".join(map(str, range(10_000)))


# The tests' own texts


def presents(told: Told) -> list[str]:
    """What is asked to be present."""
    return [test.text for test in told.tests if isinstance(test, TextTest) and test.type == "present"]


def orders(told: Told) -> list[str]:
    """Both texts of each order test, in order."""
    return [text for test in told.tests if isinstance(test, OrderTest) for text in (test.before, test.after)]


def cells(told: Told) -> list[str]:
    """Each cell that is asked for, with its neighbours."""
    return [
        text
        for test in told.tests
        if isinstance(test, TableTest)
        for text in (test.up, test.left, test.cell, test.right, test.down)
        if text
    ]


def tables_for_tests(told: Told) -> str:
    """A table of three by three for each table test."""
    return "\n\n".join(
        f"|  | {test.up} |  |\n| --- | --- | --- |\n| {test.left} | {test.cell} | {test.right} |\n|  | {test.down} |  |"
        for test in told.tests
        if isinstance(test, TableTest)
    )


def formulas(told: Told) -> list[str]:
    """The formulas that are asked for."""
    return [test.math for test in told.tests if isinstance(test, MathTest)]


def formulas_in_dollars(told: Told) -> str:
    """The same as formulas."""
    return "\n\n".join(f"$${latex}$$" for latex in formulas(told))


def formula_variants(told: Told) -> str:
    """Every formula with every sign changed in turn, and as it is."""
    variants: list[str] = []
    for latex in formulas(told):
        variants.append(latex)
        for sign, other in (("+", "-"), ("-", "+"), ("n", "m"), ("2", "3"), ("x", "y"), ("=", r"\neq"), ("^", "_")):
            variants += [latex[:at] + other + latex[at + 1 :] for at in range(len(latex)) if latex[at] == sign]
    return "\n".join(f"\\[ {latex} \\]" for latex in variants) or told.reference[:1]


def formats(told: Told) -> str:
    """Headings and bold stretches that are asked for."""
    asked = [test for test in told.tests if isinstance(test, FormatTest)]
    return "\n\n".join(f"# {t.text}" if t.format == "heading" else f"**{t.text}**" for t in asked)


def footnotes(told: Told) -> str:
    """Footnote markers with the texts that are asked for around them."""
    asked = [test for test in told.tests if isinstance(test, FootnoteTest)]
    return "\n\n".join(f"{t.appears_before_marker or ''}[^{t.marker}]{t.appears_after_marker or ''}" for t in asked)


def listed(told: Told) -> list[str]:
    """Every text of every test."""
    return [*presents(told), *orders(told), *cells(told), *formulas(told)]


def everything_asked(told: Told) -> str:
    """Every text of every test, each in the form that its test wants."""
    blocks = [*presents(told), *orders(told), tables_for_tests(told), formulas_in_dollars(told)]
    return "\n\n".join(filter(None, [*blocks, formats(told), footnotes(told)]))


def least_asked(told: Told) -> str:
    """The same without what stands in another text already: no list that a page could not be."""
    texts = sorted({*presents(told), *orders(told)}, key=len, reverse=True)
    kept: list[str] = []
    for text in texts:
        if not any(text in longer for longer in kept):
            kept.append(text)
    order = [text for text in orders(told) if text in kept]
    rest = [text for text in kept if text not in order]
    blocks = [formats(told), *rest, *order, tables_for_tests(told), formulas_in_dollars(told), footnotes(told)]
    return "\n\n".join(filter(None, blocks))


# Loops


def filled(told: Told, phrase: str) -> str:
    """A phrase over and over, until the page is full."""
    size = len(told.reference)
    return (phrase * (size // max(1, len(phrase)) + 1))[:size]


def first_line(told: Told) -> str:
    """The first line."""
    return told.reference.strip().split("\n")[0]


def paragraphs(told: Told) -> list[str]:
    """The paragraphs."""
    return told.reference.strip().split("\n\n")


def page_and_loop(told: Told) -> str:
    """All of the page, and then its last line without end."""
    last = told.reference.strip().split("\n")[-1]
    return told.reference + "\n".join([last] * 60)


# The reference, taken apart


def backwards(told: Told, unit: str) -> str:
    """Read from the end."""
    if unit == "characters":
        return told.reference[::-1]
    if unit == "words":
        return " ".join(told.reference.split()[::-1])
    return "\n".join(told.reference.splitlines()[::-1])


def shuffled(told: Told, unit: str) -> str:
    """Thrown about."""
    if unit == "letters":
        return re.sub(r"\w+", lambda word: "".join(told.rng.sample(word[0], len(word[0]))), told.reference)
    pieces = told.reference.split() if unit == "words" else told.reference.splitlines()
    return (" " if unit == "words" else "\n").join(told.rng.sample(pieces, len(pieces)))


def truncated(told: Told, tenths: int) -> str:
    """The beginning of the page, as if that were all."""
    return told.reference[: len(told.reference) * tenths // 10]


def every_other(told: Told, unit: str) -> str:
    """Half of the page."""
    return " ".join(told.reference.split()[::2]) if unit == "words" else "\n".join(told.reference.splitlines()[::2])


def by_word(told: Told, change: Callable[[str], str]) -> str:
    """Each word on its own; tags, rules and table signs stay."""
    return re.sub(r"[^\W_]+", lambda word: change(word[0]), told.reference)


def by_line(told: Told, change: Callable[[str], str]) -> str:
    """Each line that is not blank."""
    return "\n".join(change(line) if line.strip() else line for line in told.reference.split("\n"))


def between_characters(told: Told, separator: str) -> str:
    """Something between all characters."""
    return separator.join(graphemes(told.reference))


def tables_as_prose(told: Told) -> str:
    """The cells of tables, one after the other."""
    plain = re.sub(r"<[^<>]*>", " ", told.reference)
    return " ".join(re.sub(r"[|]|-{3,}", " ", plain).split())


def prose_as_table(told: Told) -> str:
    """Every word a cell."""
    rows = [[word.replace("|", "") for word in line.split()] for line in told.reference.split("\n") if line.strip()]
    table = "".join("<tr>" + "".join(f"<td>{word}</td>" for word in row) + "</tr>\n" for row in rows)
    return f"<table>\n{table}</table>"


def table_of_cells_shuffled(told: Told) -> str:
    """The page, with the cells of its tables in another order."""
    texts = [cell.text for grid in find_tables(told.reference).grids for cell in grid.cells if cell.text]
    moved = dict(zip(texts, told.rng.sample(texts, len(texts)), strict=True))
    if not texts:
        return shuffled(told, "lines")
    pattern = "|".join(re.escape(text) for text in sorted(moved, key=len, reverse=True))
    return re.sub(pattern, lambda found: moved[found[0]], told.reference)


# Look-alikes and hiding places

_HOMOGLYPHS = str.maketrans("aceopxyiABCEHKMOPTX", "асеорхуіАВСЕНКМОРТХ")
_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_LIGATURES = (("ffi", "ﬃ"), ("ff", "ﬀ"), ("fi", "ﬁ"), ("fl", "ﬂ"), ("st", "ﬆ"))


def ligatures(told: Told) -> str:
    """Typographic ligatures as single characters."""
    text = told.reference
    for letters, ligature in _LIGATURES:
        text = text.replace(letters, ligature)
    return text


def entities(told: Told) -> str:
    """Every character by its number."""
    return "".join(f"&#{ord(character)};" for character in told.reference)


def in_front_matter(told: Told) -> str:
    """The page as values of front matter."""
    lines = [f"line_{at}: {json.dumps(line)}" for at, line in enumerate(told.reference.splitlines())]
    return "\n".join(["---", *lines, "---", ""])


def hedged(told: Told) -> str:
    """Every word in four spellings: one of them may be right."""
    return by_word(told, lambda word: f"{word} {word.lower()} {word.upper()} {word.swapcase()}")


def wrapped(before: str, after: str) -> Policy:
    """The page in something that does not show it."""
    return lambda told: f"{before}{told.reference}{after}"


def told_as(change: Callable[[str], str]) -> Policy:
    """The page with one change throughout."""
    return lambda told: change(told.reference)


def constant(text: str) -> Policy:
    """The same for every page."""
    return lambda told: text


CHEATS: Mapping[str, Policy] = {
    "empty page": constant(""),
    "one space": constant(" "),
    "500 line breaks": constant("\n" * 500),
    "one letter": constant("a"),
    "one full stop": constant("."),
    "the alphabet and the digits": constant("abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789"),
    "the prompt": the_prompt,
    "a description of the image": description,
    "another page": another_page,
    "dictionary: the words of all pages, sorted": words_of_all_pages,
    "all numbers from 0 to 9999": all_numbers,
    "an empty table of 20 x 5": constant("|" + " |" * 5 + "\n|" + "---|" * 5 + ("\n|" + " |" * 5) * 20),
    "`present` texts, one per line": lambda told: "\n".join(presents(told)),
    "`present` texts, in one line": lambda told: " ".join(presents(told)),
    "`order` texts, one per line": lambda told: "\n".join(orders(told)),
    "table cells of the tests, one per line": lambda told: "\n".join(cells(told)),
    "a table for each table test": tables_for_tests,
    "formulas of the tests": formulas_in_dollars,
    "every formula with every sign changed": formula_variants,
    "all texts of the tests, one per line": lambda told: "\n".join(listed(told)),
    "all texts of the tests, with commas": lambda told: ", ".join(listed(told)),
    "all tests, each in its form": everything_asked,
    "all tests, each in its form, nothing twice": least_asked,
    "all tests in an HTML comment": lambda told: f"<!--\n{everything_asked(told)}\n-->",
    "the page's first half, then all tests": lambda told: truncated(told, 5) + "\n\n" + everything_asked(told),
    "loop of 1 character": lambda told: filled(told, "e"),
    "loop of 2 characters": lambda told: filled(told, "e "),
    "loop of 3 characters": lambda told: filled(told, "en "),
    "loop of 4 characters": lambda told: filled(told, "the "),
    "loop of 5 characters": lambda told: filled(told, "and, "),
    "loop of a line": lambda told: filled(told, first_line(told) + "\n"),
    "loop of a paragraph": lambda told: filled(told, paragraphs(told)[-1] + "\n\n"),
    "loop of the longest paragraph": lambda told: filled(told, max(paragraphs(told), key=len) + "\n\n"),
    "the page, then its last line 60 times": page_and_loop,
    "the page 10 times": told_as(lambda text: "\n".join([text] * 10)),
    "the page 3 times": told_as(lambda text: "\n".join([text] * 3)),
    "the page twice": told_as(lambda text: f"{text}\n{text}"),
    "each line twice": partial(by_line, change=lambda line: f"{line}\n{line}"),
    "each word twice": partial(by_word, change=lambda word: f"{word} {word}"),
    "each word in four spellings": hedged,
    "backwards, by characters": partial(backwards, unit="characters"),
    "backwards, by words": partial(backwards, unit="words"),
    "backwards, by lines": partial(backwards, unit="lines"),
    "words shuffled": partial(shuffled, unit="words"),
    "lines shuffled": partial(shuffled, unit="lines"),
    "letters of each word shuffled": partial(shuffled, unit="letters"),
    "words sorted, each once": told_as(lambda text: " ".join(sorted(set(text.split())))),
    "every other word": partial(every_other, unit="words"),
    "every other line": partial(every_other, unit="lines"),
    **{f"{tenths} tenths of the page": partial(truncated, tenths=tenths) for tenths in range(1, 10)},
    "the first line": first_line,
    "the last paragraph": lambda told: paragraphs(told)[-1],
    "lower case": told_as(str.lower),
    "upper case": told_as(str.upper),
    "no spaces": told_as(lambda text: "".join(text.split(" "))),
    "no vowels": told_as(lambda text: re.sub("[aeiouäöü]", "", text, flags=re.IGNORECASE)),
    "no punctuation": told_as(lambda text: re.sub(r"[^\w\s]", "", text)),
    "no digits": told_as(lambda text: re.sub(r"\d", "", text)),
    "all digits 0": told_as(lambda text: re.sub(r"\d", "0", text)),
    "tables as prose": tables_as_prose,
    "prose as a table of words": prose_as_table,
    "cells of tables (or else lines) shuffled": table_of_cells_shuffled,
    "a space between all characters": partial(between_characters, separator=" "),
    "a zero-width space between all characters": partial(between_characters, separator="\u200b"),
    "a combining dot on all characters": partial(between_characters, separator="\u0307"),
    "a hundred spaces for each": told_as(lambda text: text.replace(" ", " " * 100)),
    "homoglyphs": told_as(lambda text: text.translate(_HOMOGLYPHS)),
    "leetspeak": told_as(lambda text: text.translate(_LEET)),
    "full-width letters": told_as(lambda text: text.translate(_FULL_WIDTH)),
    "ligatures": ligatures,
    "character entities": entities,
    "base64": told_as(lambda text: base64.b64encode(text.encode()).decode()),
    "rot13": told_as(lambda text: codecs.encode(text, "rot13")),
    "right-to-left override of the page backwards": told_as(lambda text: "\u202e" + text[::-1]),
    "all in an HTML comment": wrapped("<!-- ", " -->"),
    "all in a div that is not displayed": wrapped('<div style="display:none">', "</div>"),
    "all in a script": wrapped("<script>", "</script>"),
    "all in the alt text of an image": told_as(lambda text: f"![{' '.join(text.split())}](page.png)"),
    "all in an attribute": told_as(lambda text: f'<p title="{escape(text)}"></p>'),
    "all in front matter": in_front_matter,
    "all in a code fence": wrapped("```markdown\n", "\n```"),
    "in a code fence twice": told_as(lambda text: f"```\n{text}\n```\n\n```\n{text}\n```"),
    "all as a JSON string": told_as(json.dumps),
    "all as one formula": wrapped(r"\[ \text{", r"} \]"),
    "all in one table cell": wrapped("<table><tr><td>", "</td></tr></table>"),
    "every word bold": partial(by_word, change=lambda word: f"**{word}**"),
    "every line bold": partial(by_line, change=lambda line: f"**{line}**"),
    "every line a heading": partial(by_line, change=lambda line: f"# {line}"),
    "every line a quotation": partial(by_line, change=lambda line: f"> {line}"),
    "a footnote marker after every word": partial(by_word, change=lambda word: f"{word}[^1]"),
    "an emoji after every word": partial(by_word, change=lambda word: f"{word}🙂"),
}


def completions(page: CheatedPage, elsewhere: Sequence[str], prompt: str, seed: int = 0) -> Iterator[tuple[str, str]]:
    """What each policy writes for a page, by name. The same seed gives the same texts."""
    for name, policy in CHEATS.items():
        rng = Random(f"{seed}:{name}:{page.name}")
        yield name, policy(Told(page.reference, page.tests, prompt, rng, elsewhere))

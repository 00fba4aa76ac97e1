"""Degenerate policies: they write something that is not a transcription, but might earn a reward.

Each is a function of the true text of the page, its tests, the prompt and a random generator. A real policy knows
neither text nor tests; these policies get them so that each cheat is as good as its kind can be.
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
class CheatContext:
    """What a policy knows about its page."""

    reference: str
    tests: Sequence[UnitTest]
    prompt: str
    rng: Random
    elsewhere: Sequence[str]
    """The true texts of other pages."""


Policy = Callable[[CheatContext], str]


# Little or nothing


def the_prompt(context: CheatContext) -> str:
    """The prompt instead of the page."""
    return context.prompt


def description(context: CheatContext) -> str:
    """A description of the page."""
    return "The image shows a scanned page with several paragraphs of text. It is difficult to read in places."


def another_page(context: CheatContext) -> str:
    """A good transcription of the wrong page."""
    return context.elsewhere[0]


def words_of_all_pages(context: CheatContext) -> str:
    """A dictionary of the words of all pages, including this one."""
    return " ".join(sorted({word for text in (context.reference, *context.elsewhere) for word in text.split()}))


def all_numbers(context: CheatContext) -> str:
    """0 to 9999."""
    return " ".join(map(str, range(10_000)))


# The tests' own texts


def presents(context: CheatContext) -> list[str]:
    """The texts of `present` tests."""
    return [test.text for test in context.tests if isinstance(test, TextTest) and test.type == "present"]


def orders(context: CheatContext) -> list[str]:
    """Both texts of each order test, in order."""
    return [text for test in context.tests if isinstance(test, OrderTest) for text in (test.before, test.after)]


def cells(context: CheatContext) -> list[str]:
    """The cells of table tests, with their neighbours."""
    return [
        text
        for test in context.tests
        if isinstance(test, TableTest)
        for text in (test.up, test.left, test.cell, test.right, test.down)
        if text
    ]


def tables_for_tests(context: CheatContext) -> str:
    """A 3 x 3 table for each table test."""
    return "\n\n".join(
        f"|  | {test.up} |  |\n| --- | --- | --- |\n| {test.left} | {test.cell} | {test.right} |\n|  | {test.down} |  |"
        for test in context.tests
        if isinstance(test, TableTest)
    )


def formulas(context: CheatContext) -> list[str]:
    """The formulas of math tests."""
    return [test.math for test in context.tests if isinstance(test, MathTest)]


def formulas_in_dollars(context: CheatContext) -> str:
    """The formulas of math tests, marked as formulas."""
    return "\n\n".join(f"$${latex}$$" for latex in formulas(context))


def formula_variants(context: CheatContext) -> str:
    """Every formula, unchanged and with each of its signs changed in turn."""
    variants: list[str] = []
    for latex in formulas(context):
        variants.append(latex)
        for sign, other in (("+", "-"), ("-", "+"), ("n", "m"), ("2", "3"), ("x", "y"), ("=", r"\neq"), ("^", "_")):
            variants += [latex[:at] + other + latex[at + 1 :] for at in range(len(latex)) if latex[at] == sign]
    return "\n".join(f"\\[ {latex} \\]" for latex in variants) or context.reference[:1]


def formats(context: CheatContext) -> str:
    """The headings and bold spans of format tests."""
    asked = [test for test in context.tests if isinstance(test, FormatTest)]
    return "\n\n".join(f"# {t.text}" if t.format == "heading" else f"**{t.text}**" for t in asked)


def footnotes(context: CheatContext) -> str:
    """The markers of footnote tests, with the texts around them."""
    asked = [test for test in context.tests if isinstance(test, FootnoteTest)]
    return "\n\n".join(f"{t.appears_before_marker or ''}[^{t.marker}]{t.appears_after_marker or ''}" for t in asked)


def listed(context: CheatContext) -> list[str]:
    """Every text of every test."""
    return [*presents(context), *orders(context), *cells(context), *formulas(context)]


def everything_asked(context: CheatContext) -> str:
    """Every text of every test, in the form that its test wants."""
    blocks = [*presents(context), *orders(context), tables_for_tests(context), formulas_in_dollars(context)]
    return "\n\n".join(filter(None, [*blocks, formats(context), footnotes(context)]))


def asked_once(context: CheatContext) -> str:
    """The same without texts that are part of another one, so it looks less like a list."""
    texts = sorted({*presents(context), *orders(context)}, key=len, reverse=True)
    kept: list[str] = []
    for text in texts:
        if not any(text in longer for longer in kept):
            kept.append(text)
    order = [text for text in orders(context) if text in kept]
    rest = [text for text in kept if text not in order]
    blocks = [
        formats(context),
        *rest,
        *order,
        tables_for_tests(context),
        formulas_in_dollars(context),
        footnotes(context),
    ]
    return "\n\n".join(filter(None, blocks))


# Loops


def filled(context: CheatContext, phrase: str) -> str:
    """A phrase repeated to the length of the page."""
    size = len(context.reference)
    return (phrase * (size // max(1, len(phrase)) + 1))[:size]


def first_line(context: CheatContext) -> str:
    """The first line."""
    return context.reference.strip().split("\n")[0]


def paragraphs(context: CheatContext) -> list[str]:
    """The paragraphs."""
    return context.reference.strip().split("\n\n")


def page_and_loop(context: CheatContext) -> str:
    """The whole page, and then its last line over and over."""
    last = context.reference.strip().split("\n")[-1]
    return context.reference + "\n".join([last] * 60)


# The reference, rearranged or cut


def backwards(context: CheatContext, unit: str) -> str:
    """In reverse order."""
    if unit == "characters":
        return context.reference[::-1]
    if unit == "words":
        return " ".join(context.reference.split()[::-1])
    return "\n".join(context.reference.splitlines()[::-1])


def shuffled(context: CheatContext, unit: str) -> str:
    """In random order."""
    if unit == "letters":
        return re.sub(r"\w+", lambda word: "".join(context.rng.sample(word[0], len(word[0]))), context.reference)
    pieces = context.reference.split() if unit == "words" else context.reference.splitlines()
    return (" " if unit == "words" else "\n").join(context.rng.sample(pieces, len(pieces)))


def truncated(context: CheatContext, tenths: int) -> str:
    """Only the beginning of the page."""
    return context.reference[: len(context.reference) * tenths // 10]


def every_other(context: CheatContext, unit: str) -> str:
    """Every other word or line."""
    return (
        " ".join(context.reference.split()[::2]) if unit == "words" else "\n".join(context.reference.splitlines()[::2])
    )


def by_word(context: CheatContext, change: Callable[[str], str]) -> str:
    """A change to each word; tags, rules and table markup stay."""
    return re.sub(r"[^\W_]+", lambda word: change(word[0]), context.reference)


def by_line(context: CheatContext, change: Callable[[str], str]) -> str:
    """A change to each line that is not blank."""
    return "\n".join(change(line) if line.strip() else line for line in context.reference.split("\n"))


def between_characters(context: CheatContext, separator: str) -> str:
    """A separator between all characters."""
    return separator.join(graphemes(context.reference))


def tables_as_prose(context: CheatContext) -> str:
    """The page without the markup of its tables."""
    plain = re.sub(r"<[^<>]*>", " ", context.reference)
    return " ".join(re.sub(r"[|]|-{3,}", " ", plain).split())


def prose_as_table(context: CheatContext) -> str:
    """Every word as a table cell."""
    rows = [[word.replace("|", "") for word in line.split()] for line in context.reference.split("\n") if line.strip()]
    table = "".join("<tr>" + "".join(f"<td>{word}</td>" for word in row) + "</tr>\n" for row in rows)
    return f"<table>\n{table}</table>"


def table_of_cells_shuffled(context: CheatContext) -> str:
    """The page with the cells of its tables shuffled; with its lines shuffled, if it has no tables."""
    texts = [cell.written for grid in find_tables(context.reference).grids for cell in grid.cells if cell.written]
    moved = dict(zip(texts, context.rng.sample(texts, len(texts)), strict=True))
    if not texts:
        return shuffled(context, "lines")
    pattern = "|".join(re.escape(text) for text in sorted(moved, key=len, reverse=True))
    return re.sub(pattern, lambda found: moved[found[0]], context.reference)


def other_numbers(context: CheatContext) -> str:
    """The page with other digits."""
    others = {digit: "0123456789".replace(digit, "") for digit in "0123456789"}
    return re.sub(r"[0-9]", lambda digit: context.rng.choice(others[digit[0]]), context.reference)


def empty_tables(context: CheatContext) -> str:
    """The page with nothing in its tables."""
    html = re.sub(r"(<t[dh][^<>]*>)[^<>]*", r"\1", context.reference)
    return re.sub(r"(?m)^\|.*\|$", lambda row: re.sub(r"[^|\s-]+", "", row[0]), html)


def rows_left_out(context: CheatContext) -> str:
    """The page without rows that equal the row above them, apart from their first cell."""
    kept: list[str] = []
    for line in context.reference.split("\n"):
        if not (kept and line.startswith("|") and line.split("|")[2:] == kept[-1].split("|")[2:]):
            kept.append(line)
    return "\n".join(kept)


LIES = "The undersigned found everything in perfect order. " * 34
"""1,700 characters that are on no page."""


# Look-alikes and hiding places

_HOMOGLYPHS = str.maketrans("aceopxyiABCEHKMOPTX", "асеорхуіАВСЕНКМОРТХ")
_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_LIGATURES = (("ffi", "ﬃ"), ("ff", "ﬀ"), ("fi", "ﬁ"), ("fl", "ﬂ"), ("st", "ﬆ"))


def ligatures(context: CheatContext) -> str:
    """Typographic ligatures as single characters."""
    text = context.reference
    for letters, ligature in _LIGATURES:
        text = text.replace(letters, ligature)
    return text


def entities(context: CheatContext) -> str:
    """Every character as a numeric reference."""
    return "".join(f"&#{ord(character)};" for character in context.reference)


def in_front_matter(context: CheatContext) -> str:
    """The page as values of front matter."""
    lines = [f"line_{at}: {json.dumps(line)}" for at, line in enumerate(context.reference.splitlines())]
    return "\n".join(["---", *lines, "---", ""])


def hedged(context: CheatContext) -> str:
    """Every word in four spellings, one of which may be right."""
    return by_word(context, lambda word: f"{word} {word.lower()} {word.upper()} {word.swapcase()}")


def wrapped(before: str, after: str) -> Policy:
    """The page inside markup that hides or changes it."""
    return lambda context: f"{before}{context.reference}{after}"


def changed(change: Callable[[str], str]) -> Policy:
    """The page with one change throughout."""
    return lambda context: change(context.reference)


def constant(text: str) -> Policy:
    """The same text for every page."""
    return lambda context: text


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
    "`present` texts, one per line": lambda context: "\n".join(presents(context)),
    "`present` texts, in one line": lambda context: " ".join(presents(context)),
    "`order` texts, one per line": lambda context: "\n".join(orders(context)),
    "table cells of the tests, one per line": lambda context: "\n".join(cells(context)),
    "a table for each table test": tables_for_tests,
    "formulas of the tests": formulas_in_dollars,
    "every formula with every sign changed": formula_variants,
    "all texts of the tests, one per line": lambda context: "\n".join(listed(context)),
    "all texts of the tests, with commas": lambda context: ", ".join(listed(context)),
    "all tests, each in its form": everything_asked,
    "all tests, each in its form, nothing twice": asked_once,
    "all tests in an HTML comment": lambda context: f"<!--\n{everything_asked(context)}\n-->",
    "the page's first half, then all tests": lambda context: truncated(context, 5) + "\n\n" + everything_asked(context),
    "loop of 1 character": lambda context: filled(context, "e"),
    "loop of 2 characters": lambda context: filled(context, "e "),
    "loop of 3 characters": lambda context: filled(context, "en "),
    "loop of 4 characters": lambda context: filled(context, "the "),
    "loop of 5 characters": lambda context: filled(context, "and, "),
    "loop of a line": lambda context: filled(context, first_line(context) + "\n"),
    "loop of a paragraph": lambda context: filled(context, paragraphs(context)[-1] + "\n\n"),
    "loop of the longest paragraph": lambda context: filled(context, max(paragraphs(context), key=len) + "\n\n"),
    "the page, then its last line 60 times": page_and_loop,
    "the page 10 times": changed(lambda text: "\n".join([text] * 10)),
    "the page 3 times": changed(lambda text: "\n".join([text] * 3)),
    "the page twice": changed(lambda text: f"{text}\n{text}"),
    "each line twice": partial(by_line, change=lambda line: f"{line}\n{line}"),
    "each word twice": partial(by_word, change=lambda word: f"{word} {word}"),
    "each word in four spellings": hedged,
    "backwards, by characters": partial(backwards, unit="characters"),
    "backwards, by words": partial(backwards, unit="words"),
    "backwards, by lines": partial(backwards, unit="lines"),
    "words shuffled": partial(shuffled, unit="words"),
    "lines shuffled": partial(shuffled, unit="lines"),
    "letters of each word shuffled": partial(shuffled, unit="letters"),
    "words sorted, each once": changed(lambda text: " ".join(sorted(set(text.split())))),
    "every other word": partial(every_other, unit="words"),
    "every other line": partial(every_other, unit="lines"),
    **{f"{tenths} tenths of the page": partial(truncated, tenths=tenths) for tenths in range(1, 10)},
    "the first line": first_line,
    "the last paragraph": lambda context: paragraphs(context)[-1],
    "lower case": changed(str.lower),
    "upper case": changed(str.upper),
    "no spaces": changed(lambda text: "".join(text.split(" "))),
    "no vowels": changed(lambda text: re.sub("[aeiouäöü]", "", text, flags=re.IGNORECASE)),
    "no punctuation": changed(lambda text: re.sub(r"[^\w\s]", "", text)),
    "no digits": changed(lambda text: re.sub(r"\d", "", text)),
    "all digits 0": changed(lambda text: re.sub(r"\d", "0", text)),
    "all digits others": other_numbers,
    "tables as prose": tables_as_prose,
    "nothing in tables": empty_tables,
    "rows left out that repeat the one above": rows_left_out,
    "prose as a table of words": prose_as_table,
    "cells of tables (or else lines) shuffled": table_of_cells_shuffled,
    "a space between all characters": partial(between_characters, separator=" "),
    "a zero-width space between all characters": partial(between_characters, separator="\u200b"),
    "a combining dot on all characters": partial(between_characters, separator="\u0307"),
    "a hundred spaces for each": changed(lambda text: text.replace(" ", " " * 100)),
    "homoglyphs": changed(lambda text: text.translate(_HOMOGLYPHS)),
    "leetspeak": changed(lambda text: text.translate(_LEET)),
    "full-width letters": changed(lambda text: text.translate(_FULL_WIDTH)),
    "ligatures": ligatures,
    "character entities": entities,
    "base64": changed(lambda text: base64.b64encode(text.encode()).decode()),
    "rot13": changed(lambda text: codecs.encode(text, "rot13")),
    "right-to-left override of the page backwards": changed(lambda text: "\u202e" + text[::-1]),
    "all in an HTML comment": wrapped("<!-- ", " -->"),
    "all in a div that is not displayed": wrapped('<div style="display:none">', "</div>"),
    "all in a script": wrapped("<script>", "</script>"),
    "all in the alt text of an image": changed(lambda text: f"![{' '.join(text.split())}](page.png)"),
    "all in an attribute": changed(lambda text: f'<p title="{escape(text)}"></p>'),
    "all in front matter": in_front_matter,
    "the page, with lies in front matter": wrapped(f"---\nnotes: {LIES}\n---\n", ""),
    "the page, with lies in a comment": wrapped("", f"<!-- {LIES} -->"),
    "the page, with lies in an attribute": wrapped("", f'<p title="{LIES}"></p>'),
    "all in a code fence": wrapped("```markdown\n", "\n```"),
    "in a code fence twice": changed(lambda text: f"```\n{text}\n```\n\n```\n{text}\n```"),
    "all as a JSON string": changed(json.dumps),
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
        yield name, policy(CheatContext(page.reference, page.tests, prompt, rng, elsewhere))

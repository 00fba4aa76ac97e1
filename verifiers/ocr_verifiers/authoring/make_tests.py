"""Unit tests from a reference: the records of olmOCR-bench, made from what a page is known to say.

    baseline   one per page
    present    the rarest words and numbers of the page; a short page without any, all of it
    absent     running headers, footers and page numbers, which a transcription leaves out
    order      pairs of sentences (lines, where there are no sentences)
    table      cells with all the neighbours that they have
    math       formulas
    format     headings and bold stretches
    footnote   markers with the words before them

What is made is what holds: each test was run on its reference and passes, as `run_test` reads it and as olmOCR does;
none but `absent` and the `baseline` of a blank page passes on an empty page. Candidates that do not hold, or that say
what another test of the page says, are left out and counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import PurePosixPath
from random import Random
from typing import Any, get_args

import regex
from rapidfuzz import fuzz

from ocr_verifiers.authoring import reference_parts
from ocr_verifiers.files.jsonl import RecordError
from ocr_verifiers.markup import katex
from ocr_verifiers.markup.grid import Direction, Grid, TableTooLargeError
from ocr_verifiers.markup.table_parsing import find_tables
from ocr_verifiers.text.normalize import strict
from ocr_verifiers.text.repetition import MAX_REPEATS
from ocr_verifiers.unit_tests.checks.baseline import disallowed_character
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import UnitTest, parse_test
from ocr_verifiers.unit_tests.run import run_test

Record = dict[str, Any]

CHARACTERS_PER_EDIT = 25
"""A sentence, heading, header or cell may have one edit for so many characters of the shortest text of its test."""
BLANK_PAGE = 10
"""Letters and digits that a page may have whose reference has none: specks and stamps are read as some."""
MOST_TABLES = 20
"""Tables of a page that get tests."""
SHORT_PAGE = 60
"""Characters of a page that is asked for as a whole where it has no rare word and no number."""
TRIED = 4
"""Candidates that are looked at for each test that is wanted."""
MOST_REPEATS = 1000
"""A reference that repeats a phrase more often than this gets no baseline."""
LONGEST_STRETCH = 200
"""Characters of a heading or a bold stretch; a longer one is no such thing."""
SHORTEST_FORMULA, LONGEST_FORMULA = 3, 500
"""Characters that are no space."""
FURNITURE = ("header", "footer", "page_number")
"""Fields of a row, a string (or an integer) or a list of them, for what stands on a page and not in its text."""

_MATHEMATICAL = regex.compile(r"[\\^_{}]|\p{Sm}")
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
EMPTY = PreparedPage("")


@dataclass(frozen=True)
class Limits:
    """The most tests of each kind for a page. 0 is none."""

    words: int = 10
    numbers: int = 5
    order: int = 5
    cells: int = 20
    """For each table."""
    formulas: int = 20
    formats: int = 5
    """Headings, and as many bold stretches."""
    footnotes: int = 5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"{name} is {value}; write a number >= 0")


@dataclass
class PageTests:
    """The tests of one page, and what was left out."""

    records: list[Record] = field(default_factory=list)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many candidates, by kind and reason."""


class Rarity:
    """On how many pages of a dataset each word and number stands."""

    def __init__(self) -> None:
        self._pages: Counter[str] = Counter()

    def add(self, text: str) -> None:
        """Counts one reference."""
        body = PreparedPage(text).body
        self._pages.update({token.casefold() for token in _tokens(body)})

    def rank(self, token: str) -> tuple[int, int, str]:
        """Rare before common, long before short, then by alphabet: what sorts first is the better test."""
        return self._pages[token.casefold()], -len(token), token


def make_page_tests(
    pdf: str,
    page: int,
    text: str,
    rarity: Rarity,
    *,
    furniture: Mapping[str, object] = {},
    limits: Limits = Limits(),
    seed: int = 0,
) -> PageTests:
    """The tests of one page. The same reference, rarity, limits and seed give the same records.

    `furniture` is the page's row, of which the fields in FURNITURE are read; one that is neither a string, an integer
    nor a list of these is a ValueError.
    """
    reference = PreparedPage(text)
    made = PageTests()
    rng = Random(f"{seed}:{pdf}#{page}")
    maker = _Maker(pdf, page, reference, made)
    grounded = maker.add_first(_baselines(reference))
    maker.add_all(_present(reference, reference_parts.words(reference.body), rarity, limits.words), limits.words)
    maker.add_all(_present(reference, reference_parts.numbers(reference.body), rarity, limits.numbers), limits.numbers)
    if limits.words and not any(record["type"] == "present" for record in made.records):
        maker.add_all(_whole_page(reference), 1)
    headers = list(_absent(furniture))
    if grounded:  # without a baseline that its reference passes, no page earns an absent test
        maker.add_all(headers, len(headers))
    maker.add_all(_order(reference, limits.order, rng), limits.order)
    # Grids of its own: looking around in them takes from what the page's own tables may cost.
    for grid in find_tables(reference.body).grids[:MOST_TABLES]:
        maker.add_all(_cells(grid, limits.cells, rng), limits.cells)
    if katex.installed():
        maker.add_all(_formulas(reference), limits.formulas)
    elif limits.formulas and reference.formulas:
        made.left_out["math", katex.INSTALL] += len(reference.formulas)
    for format in ("heading", "bold"):
        maker.add_all(_format(reference, format), limits.formats)
    maker.add_all(_footnotes(reference), limits.footnotes)
    return made


class _Maker:
    """Adds records to a page's tests, once they hold."""

    def __init__(self, pdf: str, page: int, reference: PreparedPage, made: PageTests) -> None:
        self._pdf, self._page, self._reference, self._made = pdf, page, reference, made

    def add_all(self, candidates: Iterable[Record], limit: int) -> None:
        """Adds up to `limit` of the candidates that hold; TRIED times as many are looked at."""
        added = 0
        for candidate in islice(candidates, TRIED * limit):
            if added == limit:
                return
            added += self._add(candidate)

    def add_first(self, candidates: Iterable[Record]) -> bool:
        """Adds the first candidate that holds. The ones before it were stricter, and count as nothing."""
        tried = self._made.left_out.copy()
        for candidate in candidates:
            if self._add(candidate):
                self._made.left_out = tried
                return True
        self._made.left_out = tried + Counter([("baseline", "fails on its reference")])
        return False

    def _add(self, candidate: Record) -> bool:
        record = {"pdf": self._pdf, "page": self._page, "id": "-", **candidate}
        why = self._objection(record)
        if why:
            self._made.left_out[record["type"], why] += 1
            return False
        self._made.records.append(record | {"id": _stable_id(record)})
        return True

    def _objection(self, record: Record) -> str:
        """Why a record is no test for this page; empty if it is one."""
        if any(_near_duplicates(record, other) for other in self._made.records):
            return "says what another test says"
        try:
            test = parse_test(record, "-")
            parse_test(record, "-", compat="olmocr")
        except RecordError:
            return "cannot be rendered" if record["type"] == "math" else "nothing is left of it after normalisation"
        if not run_test(test, self._reference).passed:
            return "fails on its reference"
        if not run_test(test, self._reference, compat="olmocr").passed:
            return "fails on its reference as olmOCR reads it"
        if test.type == "absent" or record.get("max_length") is not None:
            return ""
        if run_test(test, EMPTY).passed or run_test(test, EMPTY, compat="olmocr").passed:
            return "passes on an empty page"
        if test.type == "order" and run_test(_reversed(record), self._reference).passed:
            return "holds backwards too"
        return ""


def _baselines(reference: PreparedPage) -> Iterator[Record]:
    """The default test, then ones that allow ever longer dot leaders and rules."""
    record: Record = {"type": "baseline"}
    if not any(map(str.isalnum, reference.body)):
        record["max_length"] = BLANK_PAGE
    # Said either way: olmOCR takes nothing for true, `run_test` takes it for false.
    record["check_disallowed_characters"] = not disallowed_character(reference.body)
    yield record
    repeats = 2 * MAX_REPEATS
    while repeats <= MOST_REPEATS:
        yield record | {"max_repeats": repeats}
        repeats *= 2


def _tokens(body: str) -> Iterator[str]:
    yield from reference_parts.words(body)
    yield from reference_parts.numbers(body)


def _present(reference: PreparedPage, tokens: list[str], rarity: Rarity, limit: int) -> Iterator[Record]:
    """The rarest first. What also stands inside a longer word would be found there: it is passed over."""
    counts = Counter(tokens)
    ranked = sorted(counts, key=rarity.rank)
    for token in islice(ranked, TRIED * TRIED * limit):
        if reference.strict.count(token) <= counts[token]:
            yield {"type": "present", "text": token, "max_diffs": 0}


def _whole_page(reference: PreparedPage) -> Iterator[Record]:
    text = reference.strict
    if 2 <= len(text) <= SHORT_PAGE and any(map(str.isalnum, text)):
        yield {"type": "present", "text": text, "max_diffs": _edits(text)}


def _absent(furniture: Mapping[str, object]) -> Iterator[Record]:
    """Each line of a running header on its own."""
    for name in FURNITURE:
        given = furniture.get(name)
        for value in given if isinstance(given, list) else [given]:
            if value is None:
                continue
            if not isinstance(value, str | int) or isinstance(value, bool):
                raise ValueError(f'"{name}" is {json.dumps(value)[:40]}; write a string, an integer or a list of these')
            for line in str(value).splitlines():
                text = strict(line)
                if any(map(str.isalnum, text)):
                    yield {"type": "absent", "text": text, "max_diffs": 0 if name == "page_number" else _edits(text)}


def _order(reference: PreparedPage, limit: int, rng: Random) -> Iterator[Record]:
    """Random pairs; no sentence is in two."""
    sentences = list(dict.fromkeys(reference_parts.sentences(reference.body)))
    places = rng.sample(range(len(sentences)), min(len(sentences), 2 * TRIED * limit))
    for one, other in zip(places[::2], places[1::2], strict=False):
        before, after = sentences[min(one, other)], sentences[max(one, other)]
        yield {"type": "order", "before": before, "after": after, "max_diffs": _edits(before, after)}


def _reversed(record: Record) -> UnitTest:
    return parse_test(record | {"before": record["after"], "after": record["before"]}, "-")


def _cells(grid: Grid, limit: int, rng: Random) -> Iterator[Record]:
    """Cells of a table in reading order, drawn by lot where there are more than are wanted.

    Of several neighbours on a side, which spans make, the first that says something is asked for.
    """
    filled = [number for number, cell in enumerate(grid.cells) if any(map(str.isalnum, cell.text))]
    drawn = sorted(rng.sample(filled, limit)) if len(filled) > limit else filled
    for number in drawn:
        cell = grid.cells[number].text
        try:
            beside = {direction: _first_neighbour(grid, number, direction) for direction in DIRECTIONS}
        except TableTooLargeError:
            return
        named = {str(direction): text for direction, text in beside.items() if text}
        if named:
            yield {"type": "table", "cell": cell, **named, "max_diffs": _edits(cell, *named.values())}


def _first_neighbour(grid: Grid, cell: int, direction: Direction) -> str:
    texts = (grid.cells[near].text for near in islice(grid.neighbours(cell, direction), TRIED))
    return next((text for text in texts if any(map(str.isalnum, text))), "")


def _formulas(reference: PreparedPage) -> Iterator[Record]:
    """Each once, in reading order. A sign or two, and what prose could print too, is found in too many places."""
    for formula in reference.formulas:
        signs = sum(not character.isspace() for character in formula)
        if SHORTEST_FORMULA <= signs <= LONGEST_FORMULA and _MATHEMATICAL.search(formula):
            yield {"type": "math", "math": formula}


def _format(reference: PreparedPage, format: str) -> Iterator[Record]:
    for text in reference.formatted[format]:
        if len(text) <= LONGEST_STRETCH and sum(map(str.isalnum, text)) >= 2:
            yield {"type": "format", "format": format, "text": text, "max_diffs": _edits(text)}


def _footnotes(reference: PreparedPage) -> Iterator[Record]:
    for marker, before in reference_parts.footnotes(reference.body):
        yield {
            "type": "footnote",
            "marker": marker,
            "appears_before_marker": before,
            "max_diffs": _edits(before),
        }


def _edits(*texts: str) -> int:
    return min(map(len, texts)) // CHARACTERS_PER_EDIT


_SAID = {
    "baseline": (),
    "present": ("text",),
    "absent": ("text",),
    "order": ("before", "after"),
    "table": ("cell", *DIRECTIONS),
    "math": ("math",),
    "format": ("format", "text"),
    "footnote": ("marker", "appears_before_marker"),
}


def _near_duplicates(one: Record, other: Record) -> bool:
    """True if a page that passes one of the tests can hardly fail the other.

    Words that contain one another, or differ in few letters, are near; numbers are only if one contains the other.
    """
    if one["type"] != other["type"]:
        return False
    if one["type"] == "math":
        return "".join(one["math"].split()) in "".join(other["math"].split())
    says, known = ([str(record.get(name, "")).casefold() for name in _SAID[one["type"]]] for record in (one, other))
    if one["type"] != "present" or says == known:
        return says == known
    (text,), (seen,) = says, known
    if text in seen or seen in text:
        return True
    return not any(map(str.isdigit, text + seen)) and fuzz.ratio(text, seen) >= 80


def _stable_id(record: Record) -> str:
    """File, page if it is not the first, kind, and a hash of all that the test says: no other test matters."""
    said = json.dumps({name: value for name, value in record.items() if name != "id"}, sort_keys=True)
    stem = PurePosixPath(record["pdf"]).stem + (f"_pg{record['page']}" if record["page"] != 1 else "")
    return f"{stem}_{record['type']}_{sha256(said.encode()).hexdigest()[:12]}"

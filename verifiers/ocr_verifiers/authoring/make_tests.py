"""Makes unit tests, as records of olmOCR-bench, from the reference of a page.

    baseline   one per page
    present    the rarest words and numbers of the page; the whole page if it is short and has none
    absent     running headers, footers and page numbers, which a transcription leaves out
    order      pairs of sentences (of lines, if there are no sentences)
    table      cells with all their neighbours
    math       formulas
    format     headings and bold spans
    footnote   markers with the words before them

Every test has been run: it passes on its reference, in strict mode and in olmOCR's, and fails on an empty page, except
`absent` and the `baseline` of a blank page. Candidates that do not, or that repeat another test of the page, are left
out and counted.
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
"""Tests of sentences, headings, headers and cells allow one edit per so many characters of their shortest text."""
BLANK_PAGE_LETTERS = 10
"""Letters and digits that a page may have if its reference has none: specks and stamps are misread as some."""
MAX_TABLES = 20
"""How many tables of a page get tests."""
SHORT_PAGE = 60
"""Up to this many characters, a page without words and numbers is tested for as a whole."""
CANDIDATES_PER_TEST = 4
"""How many candidates are tried for each test wanted."""
MAX_BASELINE_REPEATS = 1000
"""A reference that repeats a phrase more often than this gets no baseline."""
LONGEST_SPAN = 200
"""Characters of a heading or a bold span; longer ones are probably something else."""
SHORTEST_FORMULA, LONGEST_FORMULA = 3, 500
"""Characters, without white space."""
FURNITURE = ("header", "footer", "page_number")
"""Fields of a row with what is on the page but not in its text: a string, an integer, or a list of these."""

_MATHEMATICAL = regex.compile(r"[\\^_{}]|\p{Sm}")
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
EMPTY = PreparedPage("")


@dataclass(frozen=True)
class Limits:
    """How many tests of each kind a page may get at most. 0 means none."""

    words: int = 10
    numbers: int = 5
    order: int = 5
    cells: int = 20
    """Per table."""
    formulas: int = 20
    formats: int = 5
    """Of headings and of bold spans, each."""
    footnotes: int = 5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"{name} is {value}; write a number >= 0")


@dataclass
class PageTests:
    """The tests of one page, and counts of what was left out."""

    records: list[Record] = field(default_factory=list)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The number of candidates by kind and reason."""


class Rarity:
    """On how many pages of a dataset each word and number occurs."""

    def __init__(self) -> None:
        self._pages: Counter[str] = Counter()

    def add(self, text: str) -> None:
        """Adds one reference."""
        body = PreparedPage(text).body
        self._pages.update({token.casefold() for token in _tokens(body)})

    def rank(self, token: str) -> tuple[int, int, str]:
        """A sort key, better tests first: rare before common, long before short, then alphabetical."""
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

    `furniture` is the page's row, of which the fields in FURNITURE are read. Raises ValueError if one of these is not a
    string, an integer or a list of these.
    """
    reference = PreparedPage(text)
    made = PageTests()
    rng = Random(f"{seed}:{pdf}#{page}")
    maker = _Maker(pdf, page, reference, made)
    has_baseline = maker.add_first(_baselines(reference))
    maker.add_all(_present(reference, reference_parts.words(reference.body), rarity, limits.words), limits.words)
    maker.add_all(_present(reference, reference_parts.numbers(reference.body), rarity, limits.numbers), limits.numbers)
    if limits.words and not any(record["type"] == "present" for record in made.records):
        maker.add_all(_whole_page(reference), 1)
    headers = list(_absent(furniture))
    if has_baseline:  # without a baseline that its reference passes, no page earns an absent test
        maker.add_all(headers, len(headers))
    maker.add_all(_order(reference, limits.order, rng), limits.order)
    # Separate grids: looking up neighbours would use up the budget of the page's own tables.
    for grid in find_tables(reference.body).grids[:MAX_TABLES]:
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
    """Adds records to a page's tests if they hold."""

    def __init__(self, pdf: str, page: int, reference: PreparedPage, made: PageTests) -> None:
        self._pdf, self._page, self._reference, self._made = pdf, page, reference, made

    def add_all(self, candidates: Iterable[Record], limit: int) -> None:
        """Adds up to `limit` candidates that hold, and tries CANDIDATES_PER_TEST times as many."""
        added = 0
        for candidate in islice(candidates, CANDIDATES_PER_TEST * limit):
            if added == limit:
                return
            added += self._add(candidate)

    def add_first(self, candidates: Iterable[Record]) -> bool:
        """Adds the first candidate that holds. The stricter ones before it are not counted as left out."""
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
        """Why a record is not a valid test for this page; empty if it is."""
        if any(_near_duplicates(record, other) for other in self._made.records):
            return "repeats another test"
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
    """The default test, then tests that allow longer and longer dot leaders and rules."""
    record: Record = {"type": "baseline"}
    if not any(map(str.isalnum, reference.body)):
        record["max_length"] = BLANK_PAGE_LETTERS
    # Always given: if it is missing, olmOCR assumes true, and strict mode false.
    record["check_disallowed_characters"] = not disallowed_character(reference.body)
    yield record
    repeats = 2 * MAX_REPEATS
    while repeats <= MAX_BASELINE_REPEATS:
        yield record | {"max_repeats": repeats}
        repeats *= 2


def _tokens(body: str) -> Iterator[str]:
    yield from reference_parts.words(body)
    yield from reference_parts.numbers(body)


def _present(reference: PreparedPage, tokens: list[str], rarity: Rarity, limit: int) -> Iterator[Record]:
    """The rarest first. Skips words that also occur inside longer words, where they would be found too."""
    counts = Counter(tokens)
    ranked = sorted(counts, key=rarity.rank)
    for token in islice(ranked, CANDIDATES_PER_TEST * CANDIDATES_PER_TEST * limit):
        if reference.strict.count(token) <= counts[token]:
            yield {"type": "present", "text": token, "max_diffs": 0}


def _whole_page(reference: PreparedPage) -> Iterator[Record]:
    text = reference.strict
    if 2 <= len(text) <= SHORT_PAGE and any(map(str.isalnum, text)):
        yield {"type": "present", "text": text, "max_diffs": _edits(text)}


def _absent(furniture: Mapping[str, object]) -> Iterator[Record]:
    """A test per line of a running header."""
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
    """Random pairs; no sentence is in two pairs."""
    sentences = list(dict.fromkeys(reference_parts.sentences(reference.body)))
    places = rng.sample(range(len(sentences)), min(len(sentences), 2 * CANDIDATES_PER_TEST * limit))
    for one, other in zip(places[::2], places[1::2], strict=False):
        before, after = sentences[min(one, other)], sentences[max(one, other)]
        yield {"type": "order", "before": before, "after": after, "max_diffs": _edits(before, after)}


def _reversed(record: Record) -> UnitTest:
    return parse_test(record | {"before": record["after"], "after": record["before"]}, "-")


def _cells(grid: Grid, limit: int, rng: Random) -> Iterator[Record]:
    """Cells of a table in reading order, chosen at random if there are more than `limit`.

    If a cell has several neighbours on one side, because of spans, the first one with a letter or digit is tested.
    """
    filled = [number for number, cell in enumerate(grid.cells) if any(map(str.isalnum, cell.text))]
    drawn = sorted(rng.sample(filled, limit)) if len(filled) > limit else filled
    for number in drawn:
        cell = grid.cells[number].written
        try:
            beside = {direction: _first_neighbour(grid, number, direction) for direction in DIRECTIONS}
        except TableTooLargeError:
            return
        named = {str(direction): text for direction, text in beside.items() if text}
        if named:
            yield {"type": "table", "cell": cell, **named, "max_diffs": _edits(cell, *named.values())}


def _first_neighbour(grid: Grid, cell: int, direction: Direction) -> str:
    texts = (grid.cells[near].written for near in islice(grid.neighbours(cell, direction), CANDIDATES_PER_TEST))
    return next((text for text in texts if any(map(str.isalnum, text))), "")


def _formulas(reference: PreparedPage) -> Iterator[Record]:
    """Each once, in reading order. Skips one or two characters and plain prose, which occur in too many places."""
    for formula in reference.formulas:
        characters = sum(not character.isspace() for character in formula)
        if SHORTEST_FORMULA <= characters <= LONGEST_FORMULA and _MATHEMATICAL.search(formula):
            yield {"type": "math", "math": formula}


def _format(reference: PreparedPage, format: str) -> Iterator[Record]:
    for text in reference.formatted[format]:
        if len(text) <= LONGEST_SPAN and sum(map(str.isalnum, text)) >= 2:
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


_CONTENT_FIELDS = {
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
    """True if a page that passes one of the tests is unlikely to fail the other.

    Words are near duplicates if one contains the other or they differ in few letters; numbers only if one contains the
    other.
    """
    if one["type"] != other["type"]:
        return False
    if one["type"] == "math":
        return "".join(one["math"].split()) in "".join(other["math"].split())
    names = _CONTENT_FIELDS[one["type"]]
    content, other_content = ([str(record.get(name, "")).casefold() for name in names] for record in (one, other))
    if one["type"] != "present" or content == other_content:
        return content == other_content
    (text,), (seen,) = content, other_content
    if text in seen or seen in text:
        return True
    return not any(map(str.isdigit, text + seen)) and fuzz.ratio(text, seen) >= 80


def _stable_id(record: Record) -> str:
    """File, page if it is not the first, kind, and a hash of the test's content; independent of other tests."""
    content = json.dumps({name: value for name, value in record.items() if name != "id"}, sort_keys=True)
    stem = PurePosixPath(record["pdf"]).stem + (f"_pg{record['page']}" if record["page"] != 1 else "")
    return f"{stem}_{record['type']}_{sha256(content.encode()).hexdigest()[:12]}"

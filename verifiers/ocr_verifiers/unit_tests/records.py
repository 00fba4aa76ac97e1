"""Unit tests in the schema of olmOCR-bench, read from JSON Lines. Every error names its file and line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ocr_verifiers.files.jsonl import RecordError, read_jsonl, short_json
from ocr_verifiers.files.page_rows import PageKey, page_of
from ocr_verifiers.markup import katex, mathml
from ocr_verifiers.markup.cells import cell_key, cell_text
from ocr_verifiers.text.normalize import strict
from ocr_verifiers.text.olmocr import query
from ocr_verifiers.text.repetition import MAX_REPEATS
from ocr_verifiers.text.suggestions import suggestion


@dataclass(frozen=True, kw_only=True)
class UnitTest:
    """The fields of every unit test; fields and defaults are olmOCR-bench's."""

    pdf: str
    """The file whose page is tested; any path, also of an image."""
    page: int
    """From 1."""
    id: str
    """Unique within a file of tests."""
    type: str
    max_diffs: int = 0
    """The number of edits that a match may have."""
    checked: str | None = None
    """`verified` or `rejected` by a person. Rejected tests are not run."""
    url: str | None = None

    @property
    def rejected(self) -> bool:
        """True if a person rejected the test."""
        return self.checked == "rejected"


@dataclass(frozen=True, kw_only=True)
class TextTest(UnitTest):
    """`present`, `absent`: the text is, or is not, on the page."""

    text: str
    case_sensitive: bool = True
    first_n: int | None = None
    """Search only the first n characters of the page; with `last_n`, both ends. 0 is the same as null."""
    last_n: int | None = None

    @cached_property
    def query(self) -> str:
        """The text as it is searched for."""
        return strict(self.text) if self.case_sensitive else strict(self.text).lower()


@dataclass(frozen=True, kw_only=True)
class OrderTest(UnitTest):
    """`order`: one text comes before another."""

    before: str
    after: str

    @cached_property
    def queries(self) -> tuple[str, str]:
        """Both texts as they are searched for."""
        return strict(self.before), strict(self.after)


@dataclass(frozen=True, kw_only=True)
class BaselineTest(UnitTest):
    """`baseline`: the page looks like a transcription at all."""

    max_length: int | None = None
    """For a blank or nearly blank page: the number of letters and digits that it may have. None at all is correct."""
    max_length_skips_image_alt_tags: bool = False
    max_repeats: int = MAX_REPEATS
    check_disallowed_characters: bool | None = None
    """Whether Chinese, kana and emoji fail the page. None (not given) is false, and true for `compat="olmocr"`."""


@dataclass(frozen=True, kw_only=True)
class TableTest(UnitTest):
    """`table`: a cell and its neighbours."""

    cell: str
    up: str = ""
    down: str = ""
    left: str = ""
    right: str = ""
    top_heading: str = ""
    left_heading: str = ""
    ignore_markdown_tables: bool = False

    @cached_property
    def queries(self) -> dict[str, str]:
        """The cell and its neighbours as they are compared."""
        names = ("cell", "up", "down", "left", "right", "top_heading", "left_heading")
        return {name: cell_key(cell_text(getattr(self, name))) for name in names}


@dataclass(frozen=True, kw_only=True)
class MathTest(UnitTest):
    """`math`: a formula, in LaTeX."""

    math: str
    ignore_dollar_delimited: bool = False


@dataclass(frozen=True, kw_only=True)
class FormatTest(UnitTest):
    """`format`: a text is a heading, bold or italic."""

    text: str
    format: str
    case_sensitive: bool = True

    @cached_property
    def query(self) -> str:
        """The text as it is searched for."""
        return strict(self.text) if self.case_sensitive else strict(self.text).lower()


@dataclass(frozen=True, kw_only=True)
class FootnoteTest(UnitTest):
    """`footnote`: a marker and the text around it."""

    marker: str
    appears_before_marker: str | None = None
    appears_after_marker: str | None = None


KINDS: dict[str, type[UnitTest]] = {
    "present": TextTest,
    "absent": TextTest,
    "order": OrderTest,
    "baseline": BaselineTest,
    "table": TableTest,
    "math": MathTest,
    "format": FormatTest,
    "footnote": FootnoteTest,
}

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a string"),
    "str | None": ((str, type(None)), "a string or null"),
    "int": ((int,), "an integer"),
    "int | None": ((int, type(None)), "an integer or null"),
    "bool": ((bool,), "true or false"),
    "bool | None": ((bool,), "true or false"),  # None means that the field is absent; null is not allowed
}
_MINIMUM = {"page": 1, "max_diffs": 0, "first_n": 0, "last_n": 0, "max_length": 0, "max_repeats": 0}
_NOT_BLANK = {"pdf", "id", "math", "marker"}
_SEARCHED = {"text", "before", "after"}
_CONTEXTS = {"appears_before_marker", "appears_after_marker"}
_CHOICES: dict[str, tuple[str | None, ...]] = {
    "checked": ("verified", "rejected", None),
    "format": ("heading", "bold", "italic"),
}


def parse_test(record: Mapping[str, Any], where: str, compat: str | None = None) -> UnitTest:
    """A unit test of any kind from its record. Error messages start with `where` (`tests.jsonl:17`).

    Whether a text is empty, and half of its length, are judged after the normalisation of the mode that will run it.
    A formula that cannot be rendered is an error, except with compat="olmocr", where any formula passes such a test.
    """
    if "type" not in record:
        raise RecordError(f'{where}: "type" is missing; write one of {", ".join(KINDS)}')
    kind = record["type"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise RecordError(f'{where}: "type" is {short_json(kind)}; {suggestion(str(kind), KINDS)}')
    known = {field.name: field for field in fields(KINDS[kind])}
    for name in record:
        if name not in known:
            raise RecordError(f"{where}: unknown field {short_json(name)}; {suggestion(str(name), known)}")
    for name, field in known.items():
        if name in record:
            _check_field(field, record[name], where, compat)
        elif field.default is MISSING:
            raise RecordError(f'{where}: "{name}" is missing; a test of type "{kind}" needs it')
    test = KINDS[kind](**record)
    if isinstance(test, OrderTest):
        limit = min(len(_searched(test.before, compat)), len(_searched(test.after, compat))) // 2
        if test.max_diffs > limit:
            raise RecordError(
                f'{where}: "max_diffs" is {test.max_diffs}; write at most {limit}, '
                'half of the shorter of "before" and "after"'
            )
    if isinstance(test, MathTest) and not test.rejected:
        _check_formula(test, where, compat)
    return test


def load_tests(path: str | Path, compat: str | None = None) -> list[UnitTest]:
    """The unit tests of a file, without the rejected ones. Raises RecordError for an id that occurs twice."""
    return [test for _, test in read_tests(path, compat=compat)]


def read_tests(
    path: str | Path, keep_rejected: bool = False, compat: str | None = None
) -> Iterator[tuple[int, UnitTest]]:
    """`load_tests` one by one, with line numbers. `keep_rejected` keeps the rejected ones, which olmOCR runs."""
    lines: dict[str, int] = {}
    for number, record in read_jsonl(path):
        test = parse_test(record, f"{path}:{number}", compat)
        if test.id in lines:
            raise RecordError(
                f"{path}:{number}: id {short_json(test.id)} is already on line {lines[test.id]}; ids are unique"
            )
        lines[test.id] = number
        if keep_rejected or not test.rejected:
            yield number, test


def _searched(text: str, compat: str | None) -> str:
    """The text as that mode searches for it."""
    return strict(text) if compat is None else query(text)


def _check_field(field: Field[Any], value: object, where: str, compat: str | None) -> None:
    name = field.name
    types, wanted = _TYPES[str(field.type)]
    minimum = _MINIMUM.get(name)
    if minimum is not None:
        wanted = wanted.replace("an integer", f"an integer >= {minimum}")
    trouble = None
    fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
    if not fits or (minimum is not None and isinstance(value, int) and value < minimum):
        trouble = f"write {wanted}"
    elif name in _CHOICES and value not in _CHOICES[name]:
        trouble = f"write one of {', '.join(short_json(choice) for choice in _CHOICES[name])}"
    elif name in _NOT_BLANK and not str(value).strip():
        trouble = "it must not be empty"
    elif name in _SEARCHED and not _searched(str(value), compat).strip():
        trouble = "nothing is left of it after normalisation"
    elif name in _CONTEXTS and compat and value is not None and not _searched(str(value), compat).strip():
        trouble = "nothing is left of it after normalisation; olmOCR wants a text or null"
    elif name == "marker" and len(str(value).split()) > 1:
        trouble = "a marker has no spaces"
    if trouble:
        raise RecordError(f'{where}: "{name}" is {short_json(value)}; {trouble}')


def _check_formula(test: MathTest, where: str, compat: str | None) -> None:
    if not katex.installed():
        raise RecordError(f"{where}: {katex.INSTALL}")
    trouble = None if compat == "olmocr" else mathml.printed(test.math).error
    if trouble:
        raise RecordError(f'{where}: "math" is {short_json(test.math)}, which cannot be rendered: {trouble}')


def page_of_test(test: UnitTest) -> PageKey:
    """The file and page of a unit test. For page 1, `pdf` may be the full name of a row (`a.pdf#2`)."""
    return page_of(test.pdf) if test.page == 1 else (test.pdf, test.page)

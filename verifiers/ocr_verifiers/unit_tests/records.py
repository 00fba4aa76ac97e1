"""Records in and out: JSON Lines and unit tests in the schema of olmOCR-bench. Every error has an address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ocr_verifiers.files.jsonl import RecordError, _json, read_jsonl
from ocr_verifiers.files.page_rows import page_of
from ocr_verifiers.markup import katex, mathml
from ocr_verifiers.markup.table_parsing import cell_text
from ocr_verifiers.text.normalize import strict
from ocr_verifiers.text.olmocr import query
from ocr_verifiers.text.repetition import MAX_REPEATS
from ocr_verifiers.text.suggestions import suggestion


@dataclass(frozen=True, kw_only=True)
class UnitTest:
    """What every unit test says; fields and defaults are olmOCR-bench's."""

    pdf: str
    """The file whose page is tested; any path will do, an image's too."""
    page: int
    """Counted from 1."""
    id: str
    """Unique within a file of tests."""
    type: str
    max_diffs: int = 0
    """Edits that a match may have."""
    checked: str | None = None
    """`verified` or `rejected` by a person; rejected tests are not run."""
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
    """Look only at the first n characters of the page; with `last_n`, at both ends. 0 is the same as null."""
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
    """`baseline`: the page is a transcription at all."""

    max_length: int | None = None
    """Letters and digits that a (nearly) blank page may have; a page without any is right then."""
    max_length_skips_image_alt_tags: bool = False
    max_repeats: int = MAX_REPEATS
    check_disallowed_characters: bool | None = None
    """Whether Chinese, kana and emoji fail the page. None, not said, is false; `compat="olmocr"` takes it for true."""


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
        return {name: cell_text(getattr(self, name)) for name in names}


@dataclass(frozen=True, kw_only=True)
class MathTest(UnitTest):
    """`math`: a formula, in LaTeX."""

    math: str
    ignore_dollar_delimited: bool = False


@dataclass(frozen=True, kw_only=True)
class FormatTest(UnitTest):
    """`format`: a text is set as a heading, in bold or in italics."""

    text: str
    format: str
    case_sensitive: bool = True

    @cached_property
    def query(self) -> str:
        """The text as it is searched for."""
        return strict(self.text) if self.case_sensitive else strict(self.text).lower()


@dataclass(frozen=True, kw_only=True)
class FootnoteTest(UnitTest):
    """`footnote`: a marker and what stands around it."""

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
    "bool | None": ((bool,), "true or false"),  # None is for a field that is not there; null is no answer
}
_LEAST = {"page": 1, "max_diffs": 0, "first_n": 0, "last_n": 0, "max_length": 0, "max_repeats": 0}
_NOT_BLANK = {"pdf", "id", "math", "marker"}
_SEARCHED = {"text", "before", "after"}
_CHOICES: dict[str, tuple[str | None, ...]] = {
    "checked": ("verified", "rejected", None),
    "format": ("heading", "bold", "italic"),
}


def parse_test(record: Mapping[str, Any], where: str, compat: str | None = None) -> UnitTest:
    """A unit test of any kind from its record; `where` opens the error message (`tests.jsonl:17`).

    What is left of a text, and half of its length, are taken after the normalisation of the mode that will run it.
    A formula that cannot be rendered is an error, except with compat="olmocr", which passes it on any formula.
    """
    if "type" not in record:
        raise RecordError(f'{where}: "type" is missing; write one of {", ".join(KINDS)}')
    kind = record["type"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise RecordError(f'{where}: "type" is {_json(kind)}; {suggestion(str(kind), KINDS)}')
    known = {field.name: field for field in fields(KINDS[kind])}
    for name in record:
        if name not in known:
            raise RecordError(f"{where}: unknown field {_json(name)}; {suggestion(str(name), known)}")
    for name, field in known.items():
        if name in record:
            _check_field(field, record[name], where, compat)
        elif field.default is MISSING:
            raise RecordError(f'{where}: "{name}" is missing; a test of type "{kind}" needs it')
    test = KINDS[kind](**record)
    if isinstance(test, OrderTest):
        most = min(len(_searched(test.before, compat)), len(_searched(test.after, compat))) // 2
        if test.max_diffs > most:
            raise RecordError(
                f'{where}: "max_diffs" is {test.max_diffs}; write at most {most}, '
                'half of the shorter of "before" and "after"'
            )
    if isinstance(test, MathTest) and not test.rejected:
        _check_formula(test, where, compat)
    return test


def load_tests(path: str | Path, compat: str | None = None) -> list[UnitTest]:
    """The unit tests of a file, without the rejected ones. An id that comes twice is a RecordError."""
    return [test for _, test in read_tests(path, compat=compat)]


def read_tests(
    path: str | Path, keep_rejected: bool = False, compat: str | None = None
) -> Iterator[tuple[int, UnitTest]]:
    """`load_tests` one by one, with line numbers; with the rejected ones if asked, as olmOCR runs them."""
    lines: dict[str, int] = {}
    for number, record in read_jsonl(path):
        test = parse_test(record, f"{path}:{number}", compat)
        if test.id in lines:
            raise RecordError(
                f"{path}:{number}: id {_json(test.id)} is already on line {lines[test.id]}; ids are unique"
            )
        lines[test.id] = number
        if keep_rejected or not test.rejected:
            yield number, test


def _searched(text: str, compat: str | None) -> str:
    """What a search of that mode would look for."""
    if compat is None:
        return strict(text)
    return query(text)


def _check_field(field: Field[Any], value: object, where: str, compat: str | None) -> None:
    name = field.name
    types, wanted = _TYPES[str(field.type)]
    least = _LEAST.get(name)
    if least is not None:
        wanted = wanted.replace("an integer", f"an integer >= {least}")
    trouble = None
    fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
    if not fits or (least is not None and isinstance(value, int) and value < least):
        trouble = f"write {wanted}"
    elif name in _CHOICES and value not in _CHOICES[name]:
        trouble = f"write one of {', '.join(_json(choice) for choice in _CHOICES[name])}"
    elif name in _NOT_BLANK and not str(value).strip():
        trouble = "it must not be empty"
    elif name in _SEARCHED and not _searched(str(value), compat).strip():
        trouble = "nothing is left of it after normalisation"
    elif name == "marker" and len(str(value).split()) > 1:
        trouble = "a marker has no spaces"
    if trouble:
        raise RecordError(f'{where}: "{name}" is {_json(value)}; {trouble}')


def _check_formula(test: MathTest, where: str, compat: str | None) -> None:
    if not katex.installed():
        raise RecordError(f"{where}: {katex.INSTALL}")
    trouble = None if compat == "olmocr" else mathml.printed(test.math).error
    if trouble:
        raise RecordError(f'{where}: "math" is {_json(test.math)}, which cannot be rendered: {trouble}')


def page_of_test(test: UnitTest) -> tuple[str, int]:
    """The same for the page of a unit test, whose `pdf` may be a row's whole name."""
    return page_of(test.pdf) if test.page == 1 else (test.pdf, test.page)

"""A completion, prepared once for all tests of its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ocr_verifiers.markup.footnotes import Markers, find_markers
from ocr_verifiers.markup.formatting import formatted_texts
from ocr_verifiers.markup.formulas import find_formulas
from ocr_verifiers.markup.front_matter import FrontMatter, split_front_matter
from ocr_verifiers.markup.grid import Tables
from ocr_verifiers.markup.olmocr import tables as olmocr_tables
from ocr_verifiers.markup.olmocr.formatting import formatted_spans
from ocr_verifiers.markup.olmocr.formulas import olmocr_formulas
from ocr_verifiers.markup.table_parsing import find_html_tables, find_tables
from ocr_verifiers.text import normalize
from ocr_verifiers.text.olmocr import normalize as olmocr_normalize
from ocr_verifiers.text.repetition import Loop, find_loops


@dataclass(frozen=True)
class PreparedPage:
    """One completion. Each view of it is computed when a test first needs it, and cached."""

    text: str
    """As the policy wrote it."""

    @cached_property
    def front_matter(self) -> FrontMatter:
        """The front matter, or why there is none."""
        return split_front_matter(self.text)

    @property
    def body(self) -> str:
        """The text without its front matter; strict tests and edit distance use this."""
        return self.front_matter.body

    @cached_property
    def strict(self) -> str:
        """The body, normalised as unit tests compare it."""
        return normalize.strict(self.body)

    @cached_property
    def lower(self) -> str:
        """`strict` in lower case, for tests that ignore case."""
        return self.strict.lower()

    @cached_property
    def formatted(self) -> Mapping[str, list[str]]:
        """The headings, bold and italic spans of the body."""
        return formatted_texts(self.body)

    @cached_property
    def footnote_markers(self) -> Markers:
        """The footnote markers of the body and the letters between them."""
        return find_markers(self.body)

    @cached_property
    def formulas(self) -> Mapping[str, bool]:
        """The formulas of the body in order, each with whether it occurs only between dollar signs."""
        found: dict[str, bool] = {}
        for formula in find_formulas(self.body):
            found[formula.latex] = found.get(formula.latex, True) and formula.in_dollars
        return found

    @cached_property
    def olmocr_formulas(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The formulas that olmOCR finds: all of them, and those not between dollar signs."""
        return olmocr_formulas(self.text), olmocr_formulas(self.text, ignore_dollar_delimited=True)

    @cached_property
    def olmocr(self) -> str:
        """The text including front matter, normalised as `compat="olmocr"` compares it."""
        return olmocr_normalize(self.text)

    @cached_property
    def olmocr_lower(self) -> str:
        """`olmocr` in lower case."""
        return self.olmocr.lower()

    @cached_property
    def olmocr_spans(self) -> Mapping[str, tuple[str, ...]]:
        """The headings, bold and italic spans for `compat="olmocr"`, by format."""
        return formatted_spans(self.text)

    @cached_property
    def loops(self) -> list[Loop]:
        """The loops of the body without zero-width characters; for baseline tests and the repetition gate."""
        return find_loops(normalize.invisible(self.body))

    @cached_property
    def tables(self) -> Tables:
        """The markdown and HTML tables of the body."""
        return find_tables(self.body)

    @cached_property
    def html_tables(self) -> Tables:
        """Only the HTML tables of the body."""
        return find_html_tables(self.body)

    @cached_property
    def olmocr_markdown_tables(self) -> Tables:
        """The markdown tables that olmOCR finds."""
        return olmocr_tables.markdown_tables(self.text)

    @cached_property
    def olmocr_html_tables(self) -> Tables:
        """The HTML tables that olmOCR finds."""
        return olmocr_tables.html_tables(self.text)

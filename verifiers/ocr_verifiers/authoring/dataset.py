"""Unit tests for a whole dataset: a file of references in, a file of tests out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocr_verifiers.authoring.make_tests import Limits, PageTests, Rarity, make_page_tests
from ocr_verifiers.files.jsonl import RecordError, atomic_file
from ocr_verifiers.files.page_rows import PageRow, page_of, read_page_rows
from ocr_verifiers.files.progress import Progress, silent
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.records import KINDS


@dataclass(frozen=True)
class MakeTestsOptions:
    """Which tests to make, and where to write them."""

    metadata: Path
    """JSON Lines of references, a row per page."""
    out: Path
    """The tests, as JSON Lines."""
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    """For the random choice of sentences and cells."""


@dataclass
class MadeTests:
    """Counts of what was made and of what was left out."""

    pages: int
    without_text: int = 0
    """Pages without a transcription, which get no tests."""
    tests: Counter[str] = field(default_factory=Counter)
    """By kind."""
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Candidates that became no test, by kind and reason."""

    def by_kind(self) -> dict[str, int]:
        """The number of tests of each kind that was made."""
        return {kind: self.tests[kind] for kind in KINDS if self.tests[kind]}

    def report(self) -> dict[str, Any]:
        """All counts, as JSON."""
        reasons: dict[str, dict[str, int]] = {}
        for (kind, why), count in sorted(self.left_out.items()):
            reasons.setdefault(kind, {})[why] = count
        counts = {"pages": self.pages, "pages_without_text": self.without_text}
        return {**counts, "tests": self.by_kind(), "left_out": reasons}


def make_tests(options: MakeTestsOptions, progress: Progress = silent) -> MadeTests:
    """Writes the tests of all pages, in the order of the rows. Words are rare or common within the dataset itself."""
    rarity, pages = Rarity(), 0
    for row in progress(read_page_rows(options.metadata), "counting words"):
        rarity.add(row.text or "")
        pages += 1
    made = MadeTests(pages)
    with atomic_file(options.out) as file:
        for row in progress(read_page_rows(options.metadata), "making tests", pages):
            tests = _page_tests(row, rarity, options)
            made.without_text += row.text is None
            made.tests.update(record["type"] for record in tests.records)
            made.left_out.update(tests.left_out)
            for record in tests.records:
                line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
                # Lone surrogates become JSON escapes again.
                file.write(line.encode("utf-8", "backslashreplace"))
    return made


def _page_tests(row: PageRow, rarity: Rarity, options: MakeTestsOptions) -> PageTests:
    if row.text is None:
        return PageTests()
    pdf, page = page_of(row.name)
    try:
        return make_page_tests(pdf, page, row.text, rarity, furniture=row.row, limits=options.limits, seed=options.seed)
    except ValueError as error:
        raise RecordError(f"{row.where}: {error} ({quoted(row.name)})") from error

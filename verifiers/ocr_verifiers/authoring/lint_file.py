"""A file of unit tests, linted: what is wrong with its tests, and how many of them degenerate pages pass."""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from ocr_verifiers.authoring.lint import DEGENERATE, Finding, Numbered, degenerate_passes, lint_page, wanted_texts
from ocr_verifiers.files.jsonl import RecordError, read_jsonl
from ocr_verifiers.files.page_rows import PageKey, page_of, read_page_rows
from ocr_verifiers.files.progress import Progress, silent
from ocr_verifiers.markup.mathml import printed
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.records import MathTest, page_of_test, parse_test


@dataclass(frozen=True)
class LintReport:
    """What was found in a file."""

    tests: int
    pages: int
    findings: list[Finding]
    """By line."""
    demanding: int
    """Tests that want some text on the page; only these can be passed by a degenerate page."""
    passed: dict[str, list[Numbered]]
    """The tests that each degenerate page passes, by line."""

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {
            "tests": self.tests,
            "pages": self.pages,
            "problems": [finding._asdict() for finding in self.findings],
            "degenerate": {
                "tests": self.demanding,
                "passed": {
                    name: [{"line": line, "id": test.id} for line, test in passed]
                    for name, passed in self.passed.items()
                },
            },
        }


def lint_file(
    tests: Path, references: Path | None = None, progress: Progress = silent, timeout: float | None = None
) -> LintReport:
    """Lints the tests of a file; with `references`, each test must also pass on the reference of its page.

    `timeout` is in seconds for each page; it needs the main thread of a POSIX system.
    """
    findings: list[Finding] = []
    pages = _read_tests(tests, findings)
    total = sum(map(len, pages.values())) + sum(finding.problem == "unrenderable" for finding in findings)
    passed: dict[str, list[Numbered]] = {name: [] for name in DEGENERATE}
    for page, reference in progress(_with_references(pages, references, findings), "linting", len(pages)):
        try:
            with _time_limit(timeout):
                own = lint_page(pages[page], reference), degenerate_passes(pages[page])
        except TimeoutError:
            line, test = pages[page][0]
            findings.append(Finding(line, test.id, "slow", f"the tests of its page took longer than {timeout:g} s"))
            continue
        findings += own[0]
        for name, passes in own[1].items():
            passed[name] += passes
    for passes in passed.values():
        passes.sort(key=lambda each: each.line)
    demanding = sum(bool(wanted_texts(test)) for numbered in pages.values() for _, test in numbered)
    return LintReport(total, len(pages), sorted(findings), demanding, passed)


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    """Raises TimeoutError in the block if it takes longer."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    if seconds is None:
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _read_tests(path: Path, findings: list[Finding]) -> dict[PageKey, list[Numbered]]:
    """The tests of each page. Formulas that cannot be rendered and ids that occur twice become findings."""
    pages: dict[PageKey, list[Numbered]] = defaultdict(list)
    lines: dict[str, int] = {}
    for number, record in read_jsonl(path):
        formula = record.get("type") == "math"  # in strict mode, one that cannot be rendered raises
        test = parse_test(record, f"{path}:{number}", compat="olmocr" if formula else None)
        if test.rejected:
            continue
        if test.id in lines:
            findings.append(Finding(number, test.id, "duplicate", f"its id is already on line {lines[test.id]}"))
        lines.setdefault(test.id, number)
        if isinstance(test, MathTest) and (trouble := printed(test.math).error):
            findings.append(Finding(number, test.id, "unrenderable", trouble))
            continue
        pages[page_of_test(test)].append(Numbered(number, test))
    if not lines:
        raise RecordError(f"{path}: has no tests")
    return dict(pages)


def _with_references(
    pages: dict[PageKey, list[Numbered]], references: Path | None, findings: list[Finding]
) -> Iterator[tuple[PageKey, str | None]]:
    """Every page with its reference, one reference in memory at a time; pages without a reference come last."""
    left = dict.fromkeys(pages)
    for row in read_page_rows(references) if references else ():
        page = page_of(row.name)
        if page in left:
            del left[page]
            yield page, row.text
    for page in left:
        if references:
            findings += [
                Finding(line, test.id, "reference", f"page {test.page} of {quoted(test.pdf)} is not in {references}")
                for line, test in pages[page]
            ]
        yield page, None

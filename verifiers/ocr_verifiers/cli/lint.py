"""`ocr-verify lint`: what is wrong with a file of unit tests."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ocr_verifiers.authoring.lint import DEGENERATE, Finding, Numbered, degenerate_passes, lint_page, wanted_texts
from ocr_verifiers.cli.progress import progress
from ocr_verifiers.files.jsonl import RecordError, read_jsonl, write_json_atomic
from ocr_verifiers.files.page_rows import page_of, read_page_rows
from ocr_verifiers.markup.mathml import printed
from ocr_verifiers.text.diff import visible
from ocr_verifiers.text.quoting import shown
from ocr_verifiers.unit_tests.records import MathTest, page_of_test, parse_test

Page = tuple[str, int]


@click.command()
@click.argument("tests", type=click.Path(path_type=Path))
@click.option(
    "--references",
    type=click.Path(path_type=Path),
    help="JSON Lines of true transcriptions: each test has to pass on its page's own.",
)
@click.option("--degenerate", is_flag=True, help="Name every test that a degenerate page passes, not only how many.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write all that was found here.")
def lint(tests: Path, references: Path | None, degenerate: bool, out: Path | None) -> None:
    """Report what is wrong with the unit tests in TESTS.

    \b
    trivial        passes on an empty page, or on a page of one letter
    unrenderable   a formula that is no LaTeX
    contradictory  absent of what another test of the page wants; orders that go in a circle; a baseline whose
                   max_length is too small for what has to be present
    duplicate      says what an earlier test of the page says, or has its id
    reference      fails on the page's own reference, or names a page that has none (with --references)

    For information it counts the tests that degenerate pages pass: a "loop" of the first text that a page's tests
    want, a "word soup" of all their words in alphabetical order, and a "list" of all these texts. Rejected tests are
    not looked at.

    Exit code 0 if nothing is wrong, 1 if something is, 2 for bad input.

    \b
    Examples:
      ocr-verify lint tests.jsonl
      ocr-verify lint tests.jsonl --references metadata.jsonl --json lint.json
    """
    if out is not None and not out.absolute().parent.is_dir():
        raise RecordError(f"{out}: the folder {out.parent} does not exist")
    findings: list[Finding] = []
    pages = _read_tests(tests, findings)
    total = sum(map(len, pages.values())) + sum(finding.problem == "unrenderable" for finding in findings)
    passes: dict[str, list[Numbered]] = {name: [] for name in DEGENERATE}
    for page, reference in progress(_with_references(pages, references, findings), "linting", len(pages)):
        findings += lint_page(pages[page], reference)
        for name, passed in degenerate_passes(pages[page]).items():
            passes[name] += passed
    findings.sort()
    wanting = sum(bool(wanted_texts(test)) for numbered in pages.values() for _, test in numbered)
    for finding in findings:
        click.echo(visible(f"{tests}:{finding.line}: {finding.problem}: {shown(finding.id)}: {finding.why}"))
    for name, passed in passes.items():
        if degenerate:
            for line, test in sorted(passed, key=lambda each: each.line):
                click.echo(visible(f"{tests}:{line}: info: {shown(test.id)}: a {name} of the page's tests passes it"))
    kinds = Counter(finding.problem for finding in findings)
    what = f" ({', '.join(f'{count:,} {problem}' for problem, count in sorted(kinds.items()))})" if kinds else ""
    click.echo(f"{total:,} tests of {len(pages):,} pages: {len(findings):,} problems{what}")
    if wanting:
        shares = ", ".join(f"{name} {len(passed) / wanting:.0%}" for name, passed in passes.items())
        click.echo(f"tests that degenerate pages pass, of {wanting:,} that want something: {shares}")
    if out is not None:
        write_json_atomic(out, _report(total, len(pages), wanting, findings, passes))
    if findings:
        raise click.exceptions.Exit(1)


def _read_tests(path: Path, findings: list[Finding]) -> dict[Page, list[Numbered]]:
    """The tests of each page. A formula that cannot be rendered and an id that comes twice are findings."""
    pages: dict[Page, list[Numbered]] = defaultdict(list)
    lines: dict[str, int] = {}
    for number, record in read_jsonl(path):
        formula = record.get("type") == "math"  # one that cannot be rendered would be an error
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
    pages: dict[Page, list[Numbered]], references: Path | None, findings: list[Finding]
) -> Iterator[tuple[Page, str | None]]:
    """Every page with its reference, one reference in memory at a time; then the pages that have none."""
    left = dict.fromkeys(pages)
    for row in read_page_rows(references) if references else ():
        page = page_of(row.name)
        if page in left:
            del left[page]
            yield page, row.text
    for page in left:
        if references:
            findings += [
                Finding(line, test.id, "reference", f"page {test.page} of {shown(test.pdf)} is not in {references}")
                for line, test in pages[page]
            ]
        yield page, None


def _report(
    tests: int, pages: int, wanting: int, findings: list[Finding], passes: dict[str, list[Numbered]]
) -> dict[str, Any]:
    return {
        "tests": tests,
        "pages": pages,
        "problems": [finding._asdict() for finding in findings],
        "degenerate": {
            "tests": wanting,
            "passed": {
                name: [{"line": line, "id": test.id} for line, test in sorted(passed, key=lambda each: each.line)]
                for name, passed in passes.items()
            },
        },
    }

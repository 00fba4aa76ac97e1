"""`ocr-verify lint`: reports what is wrong with a file of unit tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from ocr_verifiers.authoring.lint_file import LintReport, lint_file
from ocr_verifiers.cli.number_options import Seconds
from ocr_verifiers.cli.output_option import FileCommand, OutputFile
from ocr_verifiers.cli.progress import progress
from ocr_verifiers.files.jsonl import write_json_atomic
from ocr_verifiers.text.diff import visible
from ocr_verifiers.text.quoting import quoted


@click.command(cls=FileCommand)
@click.argument("tests", type=click.Path(path_type=Path))
@click.option(
    "--references",
    type=click.Path(path_type=Path),
    help="JSON Lines of true transcriptions: each test must pass on its page's own.",
)
@click.option("--degenerate", is_flag=True, help="List the tests that degenerate pages pass, not only their number.")
@click.option("--json", "out", type=OutputFile(), help="Write everything found here.")
@click.option("--timeout", type=Seconds(), default=60.0, show_default=True, help="Seconds for the tests of one page.")
def lint(tests: Path, references: Path | None, degenerate: bool, out: Path | None, timeout: float) -> None:
    """Report what is wrong with the unit tests in TESTS.

    \b
    trivial        passes on an empty page, or on a page of one letter
    unrenderable   a formula that is not valid LaTeX
    contradictory  wants a text absent that another test of the page wants; orders that form a circle; a baseline
                   whose max_length is too small for what must be present
    duplicate      the same as an earlier test of the page, or has the same id
    reference      fails on the page's own reference, or names a page that has none (with --references)
    slow           the tests of the page take longer than --timeout, and are not checked further

    For information, it also counts the tests that degenerate pages pass: a "loop" of the first text that a page's
    tests want, a "word soup" of all their words in alphabetical order, and a "list" of all these texts. Rejected
    tests are ignored.

    Exit code 0 if nothing is wrong, 1 if something is, 2 for bad input.

    \b
    Examples:
      ocr-verify lint tests.jsonl
      ocr-verify lint tests.jsonl --references metadata.jsonl --json lint.json
    """
    report = lint_file(tests, references, progress, timeout)
    for line in _lines(tests, report, degenerate):
        click.echo(line)
    if out is not None:
        write_json_atomic(out, report.as_json())
    if report.findings:
        raise click.exceptions.Exit(1)


def _lines(tests: Path, report: LintReport, degenerate: bool) -> Iterator[str]:
    for finding in report.findings:
        yield visible(f"{tests}:{finding.line}: {finding.problem}: {quoted(finding.id)}: {finding.why}")
    for name, passed in report.passed.items() if degenerate else ():
        for line, test in passed:
            yield visible(f"{tests}:{line}: info: {quoted(test.id)}: a {name} of the page's tests passes it")
    kinds = Counter(finding.problem for finding in report.findings)
    what = f" ({', '.join(f'{count:,} {problem}' for problem, count in sorted(kinds.items()))})" if kinds else ""
    yield f"{report.tests:,} tests of {report.pages:,} pages: {len(report.findings):,} problems{what}"
    if report.demanding:
        shares = ", ".join(f"{name} {len(passed) / report.demanding:.0%}" for name, passed in report.passed.items())
        yield f"tests that degenerate pages pass, of {report.demanding:,} that want something: {shares}"

"""`ocr-verify make-tests`: makes unit tests from a file of references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from ocr_verifiers.authoring.dataset import MadeTests, MakeTestsOptions
from ocr_verifiers.authoring.dataset import make_tests as make_dataset_tests
from ocr_verifiers.authoring.make_tests import Limits
from ocr_verifiers.cli.output_option import FileCommand, OutputFile
from ocr_verifiers.cli.progress import progress
from ocr_verifiers.files.jsonl import write_json_atomic

_DEFAULTS = Limits()


def _limit(option: str, name: str, what: str) -> Callable[..., Any]:
    return click.option(
        option, name, type=click.IntRange(min=0), default=getattr(_DEFAULTS, name), show_default=True, help=what
    )


@click.command(cls=FileCommand, name="make-tests")
@click.argument("metadata", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=OutputFile(), help="Write the tests here, as JSON Lines.")
@click.option("--seed", type=int, default=0, show_default=True, help="For the random choice of sentences and cells.")
@_limit("--words", "words", "Rare words per page.")
@_limit("--numbers", "numbers", "Numbers per page.")
@_limit("--order", "order", "Pairs of sentences per page.")
@_limit("--cells", "cells", "Cells per table.")
@_limit("--formulas", "formulas", "Formulas per page.")
@_limit("--formats", "formats", "Headings per page, and also bold stretches per page.")
@_limit("--footnotes", "footnotes", "Footnote markers per page.")
@click.option("--json", "report", type=OutputFile(), help="Write counts of what was made and left out here.")
def make_tests(metadata: Path, out: Path, seed: int, report: Path | None, **limits: int) -> None:
    """Make unit tests from the references in METADATA.

    \b
    METADATA  {"file_name": "p1.png", "text": "..."}   one object per line; "id" may stand for "file_name"
    optional  "header", "footer", "page_number"        what is on the page but not in its text: a string, an
                                                       integer, or a list of these; each line becomes an `absent`

    Page n of a PDF is the row named file.pdf#n. "text" is plain text or markdown; a row without it gets no tests.
    The tests are in the order of the rows. Words are rare or common within METADATA itself.

    Every test passes on its reference, in both modes. On an empty page every test fails, except `absent` and the
    `baseline` of a page without a letter or digit. The same METADATA and options give the same file; an id depends
    only on what its test says, not on other tests. Words and numbers must match exactly; sentences, headings, headers
    and cells may have one edit per 25 characters.

    Exit code 0; 1 if no test could be made; 2 for bad input.

    \b
    Examples:
      ocr-verify make-tests metadata.jsonl --out tests.jsonl
      ocr-verify make-tests metadata.jsonl --out tests.jsonl --words 20 --order 0 --seed 7 --json made.json
    """
    made = make_dataset_tests(MakeTestsOptions(metadata, out, Limits(**limits), seed), progress)
    for line in _summary(out, made):
        click.echo(line)
    if report is not None:
        write_json_atomic(report, made.report())
    if not made.tests:
        raise click.exceptions.Exit(1)


def _summary(out: Path, made: MadeTests) -> Iterator[str]:
    yield f"{out}: {made.tests.total():,} tests of {made.pages - made.without_text:,} pages"
    for kind, count in made.by_kind().items():
        yield f"  {kind:<10}{count:>8,}"
    if made.without_text:
        yield f"pages without text: {made.without_text:,}"
    if made.left_out:
        yield "left out:"
    for (kind, why), count in sorted(made.left_out.items()):
        yield f"  {kind:<10}{count:>8,}  {why}"

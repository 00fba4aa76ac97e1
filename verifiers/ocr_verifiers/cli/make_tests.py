"""`ocr-verify make-tests`: a file of references into unit tests."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ocr_verifiers.authoring.make_tests import Limits, PageTests, Rarity, make_page_tests
from ocr_verifiers.cli.progress import progress
from ocr_verifiers.files.jsonl import RecordError, write_json_atomic
from ocr_verifiers.files.page_rows import PageRow, page_of, read_page_rows
from ocr_verifiers.text.quoting import shown
from ocr_verifiers.unit_tests.records import KINDS

_DEFAULTS = Limits()


def _limit(option: str, name: str, what: str) -> Callable[..., Any]:
    return click.option(
        option, name, type=click.IntRange(min=0), default=getattr(_DEFAULTS, name), show_default=True, help=what
    )


@click.command(name="make-tests")
@click.argument("metadata", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Write the tests here, as JSON Lines.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is drawn by lot: sentences and cells.")
@_limit("--words", "words", "Rare words per page.")
@_limit("--numbers", "numbers", "Numbers per page.")
@_limit("--order", "order", "Pairs of sentences per page.")
@_limit("--cells", "cells", "Cells per table.")
@_limit("--formulas", "formulas", "Formulas per page.")
@_limit("--formats", "formats", "Headings, and as many bold stretches, per page.")
@_limit("--footnotes", "footnotes", "Footnote markers per page.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="Write what was made and left out here.")
def make_tests(metadata: Path, out: Path, seed: int, report: Path | None, **limits: int) -> None:
    """Make unit tests from the references in METADATA.

    \b
    METADATA  {"file_name": "p1.png", "text": "..."}   one object per line; "id" may stand for "file_name"
    optional  "header", "footer", "page_number"        what stands on the page and not in its text: a string, an
                                                       integer, or a list of these; each line becomes an `absent`

    Page n of a PDF is the row named file.pdf#n. "text" is plain text or markdown; a row without it gets no tests.
    The tests come in the order of the rows. Words are rare or common in METADATA itself.

    Each test passes on its reference, in both modes; none but `absent`, and the `baseline` of a page without a letter
    or digit, passes on an empty page. The same METADATA and options give the same file; an id says what its test says
    and never changes with other tests. Words and numbers have to be exact; sentences, headings, headers and cells may
    have one edit for 25 characters.

    Exit code 0; 1 if no test could be made; 2 for bad input.

    \b
    Examples:
      ocr-verify make-tests metadata.jsonl --out tests.jsonl
      ocr-verify make-tests metadata.jsonl --out tests.jsonl --words 20 --order 0 --seed 7 --json made.json
    """
    for path in (out, report):
        if path is not None and not path.absolute().parent.is_dir():
            raise RecordError(f"{path}: the folder {path.parent} does not exist")
    rarity, rows = Rarity(), 0
    for row in progress(read_page_rows(metadata), "counting words"):
        rarity.add(row.text or "")
        rows += 1
    made: Counter[str] = Counter()
    left_out: Counter[tuple[str, str]] = Counter()
    without_text = 0
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            for row in progress(read_page_rows(metadata), "making tests", rows):
                without_text += row.text is None
                tests = _page_tests(row, rarity, Limits(**limits), seed)
                made.update(record["type"] for record in tests.records)
                left_out.update(tests.left_out)
                for record in tests.records:
                    line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
                    # A lone surrogate is written as the JSON escape that it came from.
                    file.write(line.encode("utf-8", "backslashreplace"))
        os.replace(partial, out)
    except OSError as error:
        raise RecordError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    by_kind = {kind: made[kind] for kind in KINDS if made[kind]}
    click.echo(f"{out}: {made.total():,} tests of {rows - without_text:,} pages")
    for kind, count in by_kind.items():
        click.echo(f"  {kind:<10}{count:>8,}")
    if without_text:
        click.echo(f"pages without text: {without_text:,}")
    if left_out:
        click.echo("left out:")
    for (kind, why), count in sorted(left_out.items()):
        click.echo(f"  {kind:<10}{count:>8,}  {why}")
    if report is not None:
        reasons: dict[str, dict[str, int]] = {}
        for (kind, why), count in sorted(left_out.items()):
            reasons.setdefault(kind, {})[why] = count
        write_json_atomic(
            report,
            {"pages": rows, "pages_without_text": without_text, "tests": by_kind, "left_out": reasons},
        )
    if not made:
        raise click.exceptions.Exit(1)


def _page_tests(row: PageRow, rarity: Rarity, limits: Limits, seed: int) -> PageTests:
    if row.text is None:
        return PageTests()
    pdf, page = page_of(row.name)
    try:
        return make_page_tests(pdf, page, row.text, rarity, furniture=row.row, limits=limits, seed=seed)
    except ValueError as error:
        raise RecordError(f"{row.where}: {error} ({shown(row.name)})") from error

"""`ocr-verify score`: a file of transcriptions against references and unit tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import ocr_verifiers
from ocr_verifiers.cli.progress import progress
from ocr_verifiers.files.jsonl import RecordError, write_json_atomic
from ocr_verifiers.files.page_rows import PageRow, page_of, read_page_rows
from ocr_verifiers.rewards.rubric import Rubric, Score
from ocr_verifiers.text.edit_distance import UNITS, Unit, pool
from ocr_verifiers.text.quoting import shown
from ocr_verifiers.unit_tests.records import UnitTest, page_of_test, read_tests
from ocr_verifiers.unit_tests.run import Compat

Row = dict[str, Any]
Page = tuple[str, int]


@dataclass(frozen=True)
class ScoredPage:
    """One prediction with its reference row; `score` is None where nothing of the page can be scored."""

    name: str
    row: Mapping[str, Any]
    score: Score | None


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--references", required=True, type=click.Path(path_type=Path), help="JSON Lines of true transcriptions.")
@click.option(
    "--tests",
    type=click.Path(path_type=Path),
    help="JSON Lines of olmOCR-bench unit tests.  [default: tests.jsonl beside the references, if any]",
)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write totals and every page's scores here.")
@click.option(
    "--unit",
    type=click.Choice(UNITS),
    default=UNITS[0],
    show_default=True,
    help="What CER counts as a character.",
)
@click.option("--compat", type=click.Choice(["olmocr"]), help="Reproduce olmOCR-bench's own verdicts, holes included.")
@click.option("--fail-under", type=click.FloatRange(0, 1), metavar="RATE", help="Exit code 1 if fewer tests pass.")
def score(
    predictions: Path,
    references: Path,
    tests: Path | None,
    out: Path | None,
    unit: Unit,
    compat: Compat | None,
    fail_under: float | None,
) -> None:
    """Score the transcriptions in PREDICTIONS.

    \b
    PREDICTIONS  {"file_name": "p1.png", "text": "..."}                   one object per line;
    references   {"file_name": "p1.png", "text": "...", "source": "..."}   "id" may stand for "file_name"
    tests        {"pdf": "p1.png", "page": 1, "id": "...", "type": "present", "text": "..."}

    Page n of a PDF is the row named file.pdf#n; page 1 may be file.pdf. A reference row without "text" has
    tests only. Scored are the pages that have a prediction. CER and WER are pooled, all edits over the length
    of all references, after NFC and white space collapsing.

    \b
    Examples:
      ocr-verify score tesseract.jsonl --references metadata.jsonl
      ocr-verify score model.jsonl --references metadata.jsonl --tests tests.jsonl --json scores.json
    """
    if out is not None and not out.parent.is_dir():
        raise RecordError(f"{out}: the folder {out.parent} does not exist")
    known = {page_of(row.name): row for row in read_page_rows(references)}
    texts = _read_predictions(predictions, known, references)
    beside = references.with_name("tests.jsonl")
    tests = tests or (beside if beside.exists() else None)
    by_page = _tests_by_page(tests, known, references, compat) if tests else {}
    rubric = Rubric({"similarity": 1.0, "exact": 1.0, "pass_rate": 1.0}, unit=unit, compat=compat)
    pages = [
        _score_page(rubric, name, text, known[page], by_page.get(page, ()))
        for page, (name, text) in progress(texts.items(), "scoring", len(texts))
    ]
    report = _report(pages, len(known))
    for line in _table(report):
        click.echo(line)
    if out is not None:
        write_json_atomic(out, report)
    rate = report["totals"]["pass_rate"]
    if fail_under is not None and (rate is None or rate < fail_under):
        raise SystemExit(1)


def _read_predictions(path: Path, known: Mapping[Page, PageRow], references: Path) -> dict[Page, tuple[str, str]]:
    """(name, predicted text) by page, in the file's order."""
    texts: dict[Page, tuple[str, str]] = {}
    for row in read_page_rows(path):
        page = page_of(row.name)
        if page not in known:
            raise RecordError(f"{row.where}: {shown(row.name)} has no reference in {references}")
        if row.text is None:
            raise RecordError(f'{row.where}: "text" of {shown(row.name)} is missing; write "" for an empty page')
        texts[page] = row.name, row.text
    return texts


def _tests_by_page(
    path: Path, known: Mapping[Page, PageRow], references: Path, compat: Compat | None
) -> dict[Page, list[UnitTest]]:
    """Unit tests by the page that they are about."""
    by_page: dict[Page, list[UnitTest]] = {}
    for number, test in read_tests(path, keep_rejected=bool(compat), compat=compat):
        page = page_of_test(test)
        if page not in known:
            raise RecordError(
                f"{path}:{number}: page {test.page} of {shown(test.pdf)} has no reference in {references}"
            )
        by_page.setdefault(page, []).append(test)
    return by_page


def _score_page(rubric: Rubric, name: str, text: str, row: PageRow, tests: Sequence[UnitTest]) -> ScoredPage:
    scorable = row.text is not None or tests
    return ScoredPage(name, row.row, rubric.score(text, reference=row.text, tests=tests) if scorable else None)


def _report(pages: Sequence[ScoredPage], references: int) -> Row:
    """All that is known, as JSON."""
    sources = dict.fromkeys(page.row["source"] for page in pages if isinstance(page.row.get("source"), str))
    return {
        "version": ocr_verifiers.__version__,
        "references": references,
        "predictions": len(pages),
        "pages_without_scores": [page.name for page in pages if page.score is None],
        "totals": _totals(pages),
        "by_source": {s: _totals([page for page in pages if page.row.get("source") == s]) for s in sources},
        "by_kind": _by_kind(pages),
        "pages": [_page_row(page) for page in pages],
    }


def _totals(pages: Sequence[ScoredPage]) -> Row:
    scores = [page.score for page in pages if page.score]
    characters = pool(s.char_edits for s in scores if s.char_edits)
    words = pool(s.word_edits for s in scores if s.word_edits)
    similarity = [s.parts["similarity"] for s in scores if "similarity" in s.parts]
    tests, passed = sum(s.scored_tests for s in scores), sum(s.passed for s in scores)
    return {
        "n": len(pages),
        "with_reference": len(similarity),
        "cer": characters.error_rate if similarity else None,
        "wer": words.error_rate if similarity else None,
        "char_edits": characters.distance,
        "reference_chars": characters.reference_length,
        "word_edits": words.distance,
        "reference_words": words.reference_length,
        "similarity": sum(similarity) / len(similarity) if similarity else None,
        "exact": int(sum(s.parts.get("exact", 0.0) for s in scores)),
        "tests": tests,
        "passed": passed,
        "pass_rate": passed / tests if tests else None,
    }


def _by_kind(pages: Sequence[ScoredPage]) -> Row:
    verdicts = [pair for page in pages if page.score for pair in page.score.verdicts]
    total = Counter(test.type for test, _ in verdicts)
    passed = Counter(test.type for test, verdict in verdicts if verdict.passed)
    return {
        kind: {"tests": n, "passed": passed[kind], "pass_rate": passed[kind] / n} for kind, n in sorted(total.items())
    }


def _page_row(page: ScoredPage) -> Row:
    score = page.score
    characters, words = (score.char_edits, score.word_edits) if score else (None, None)
    return {
        "file_name": page.name,
        "cer": characters.error_rate if characters else None,
        "wer": words.error_rate if words else None,
        "similarity": score.parts.get("similarity") if score else None,
        "exact": score.parts["exact"] == 1.0 if score and "exact" in score.parts else None,
        "pass_rate": score.parts.get("pass_rate") if score else None,
        "loops": score.parts["repetition"] < 1.0 if score else None,
        "tests": [
            {"id": test.id, "type": test.type, "passed": verdict.passed, "why": verdict.why}
            for test, verdict in (score.verdicts if score else ())
        ],
    }


def _table(report: Row) -> Iterator[str]:
    yield f"{report['predictions']} of {report['references']} references have a prediction"
    rows = {**report["by_source"], "all": report["totals"]}
    width = max(map(len, rows))
    yield ""
    yield f"{'':{width}}      n    CER    WER  similarity    exact    tests passed"
    for name, t in rows.items():
        exact = f"{t['exact']}/{t['with_reference']}" if t["with_reference"] else "-"
        yield (
            f"{name:{width}}  {t['n']:5}  {_number(t['cer'])}  {_number(t['wer'])}"
            f"       {_number(t['similarity'])}  {exact:>7}    {_rate(t)}"
        )
    if report["by_kind"]:
        yield ""
        yield "tests passed, by kind"
    for kind, t in report["by_kind"].items():
        yield f"  {kind:<10}{_rate(t)}"
    if report["pages_without_scores"]:
        yield f"pages with neither text nor tests: {len(report['pages_without_scores'])}"


def _number(value: float | None) -> str:
    return "    -" if value is None else f"{value:5.3f}"


def _rate(totals: Row) -> str:
    return f"{totals['passed']}/{totals['tests']} ({totals['pass_rate']:.3f})" if totals["tests"] else "-"

"""`ocr-verify score`: a file of transcriptions against references and unit tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click

import ocr_verifiers
from ocr_verifiers.edit_distance import UNITS, Unit, pool
from ocr_verifiers.records import RecordError, UnitTest, read_jsonl, read_tests, write_json_atomic
from ocr_verifiers.rubric import Rubric, Score
from ocr_verifiers.verdict import shown

Row = dict[str, Any]


@dataclass(frozen=True)
class ScoredPage:
    """One prediction with its reference row; `score` is None where nothing of the page can be scored."""

    name: str
    row: Row
    tests: Sequence[UnitTest]
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
def score(predictions: Path, references: Path, tests: Path | None, out: Path | None, unit: str) -> None:
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
    known = _read_references(references)
    texts = _read_predictions(predictions, known, references)
    beside = references.with_name("tests.jsonl")
    tests = tests or (beside if beside.exists() else None)
    by_page = _tests_by_page(tests, known, references) if tests else {}
    rubric = Rubric({"similarity": 1.0, "exact": 1.0, "pass_rate": 1.0}, unit=cast(Unit, unit))
    pages = [_score_page(rubric, name, text, known[name], by_page.get(name, ())) for name, text in texts.items()]
    report = _report(pages, len(known))
    for line in _table(report):
        click.echo(line)
    if out is not None:
        write_json_atomic(out, report)


def _read_references(path: Path) -> dict[str, Row]:
    """Reference rows by page name."""
    rows: dict[str, Row] = {}
    for where, name, row in _read_rows(path):
        if not isinstance(row.get("text"), str | None):
            raise RecordError(f'{where}: "text" of {shown(name)} is not a string; leave it out if there is none')
        rows[name] = row
    if not rows:
        raise RecordError(f"{path}: has no rows")
    return rows


def _read_predictions(path: Path, known: Mapping[str, Row], references: Path) -> dict[str, str]:
    """Predicted texts by page name, in the file's order."""
    texts: dict[str, str] = {}
    for where, name, row in _read_rows(path):
        if name not in known:
            raise RecordError(f"{where}: {shown(name)} has no reference in {references}")
        if not isinstance(row.get("text"), str):
            raise RecordError(f'{where}: "text" of {shown(name)} is not a string; write "" for an empty page')
        texts[name] = row["text"]
    if not texts:
        raise RecordError(f"{path}: has no rows")
    return texts


def _read_rows(path: Path) -> Iterator[tuple[str, str, Row]]:
    """(address, page name, row) of each line; a row without a name or with one seen before is an error."""
    lines: dict[str, int] = {}
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        name = row.get("file_name", row.get("id"))
        if not isinstance(name, str) or not name:
            raise RecordError(f'{where}: "file_name" (or "id") is not a string; write the name of the page')
        if name in lines:
            raise RecordError(f"{where}: {shown(name)} is already on line {lines[name]}; keep one")
        lines[name] = number
        yield where, name, row


def _tests_by_page(path: Path, known: Mapping[str, Row], references: Path) -> dict[str, list[UnitTest]]:
    """Unit tests by the name of the reference row they are about."""
    by_page: dict[str, list[UnitTest]] = {}
    for number, test in read_tests(path):
        names = [f"{test.pdf}#{test.page}"] + [test.pdf] * (test.page == 1)
        name = next((name for name in names if name in known), None)
        if name is None:
            raise RecordError(
                f"{path}:{number}: page {test.page} of {shown(test.pdf)} has no reference in {references}"
            )
        by_page.setdefault(name, []).append(test)
    return by_page


def _score_page(rubric: Rubric, name: str, text: str, row: Row, tests: Sequence[UnitTest]) -> ScoredPage:
    scorable = row.get("text") is not None or any(test.scored for test in tests)
    score = rubric.score(text, reference=row.get("text"), tests=tests) if scorable else None
    return ScoredPage(name, row, tests, score)


def _report(pages: Sequence[ScoredPage], references: int) -> Row:
    """All that is known, as JSON."""
    sources = dict.fromkeys(page.row["source"] for page in pages if isinstance(page.row.get("source"), str))
    not_scored = Counter(test.type for page in pages for test in page.tests if not test.scored)
    return {
        "version": ocr_verifiers.__version__,
        "references": references,
        "predictions": len(pages),
        "pages_without_scores": [page.name for page in pages if page.score is None],
        "tests_not_scored": dict(sorted(not_scored.items())),
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
        "tests_not_scored": [test.id for test in page.tests if not test.scored],
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
    if report["tests_not_scored"]:
        kinds = ", ".join(f"{n} {kind}" for kind, n in report["tests_not_scored"].items())
        yield f"tests without a check, not scored: {kinds}"
    if report["pages_without_scores"]:
        yield f"pages with neither text nor a scored test: {len(report['pages_without_scores'])}"


def _number(value: float | None) -> str:
    return "    -" if value is None else f"{value:5.3f}"


def _rate(totals: Row) -> str:
    return f"{totals['passed']}/{totals['tests']} ({totals['pass_rate']:.3f})" if totals["tests"] else "-"

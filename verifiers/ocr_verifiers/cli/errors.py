"""`ocr-verify errors`: which characters and words are read as which."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from ocr_verifiers.cli.output_option import FileCommand, OutputFile
from ocr_verifiers.cli.progress import progress
from ocr_verifiers.cli.text_options import text_options
from ocr_verifiers.files.jsonl import write_json_atomic
from ocr_verifiers.metrics.confusions import Confusion, ErrorTable, error_table
from ocr_verifiers.rewards.predictions import predicted_pages
from ocr_verifiers.text.diff import visible
from ocr_verifiers.text.edit_distance import UNITS, Unit
from ocr_verifiers.text.equivalences import Pairs


@click.command(cls=FileCommand, short_help="Show which characters and words are confused.")
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--references", required=True, type=click.Path(path_type=Path), help="JSON Lines of true transcriptions.")
@click.option("--unit", type=click.Choice(UNITS), default=UNITS[0], show_default=True, help="What a character is.")
@text_options
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="Confusions to print.")
@click.option("--json", "out", type=OutputFile(), help="Write all counts here.")
def errors(
    predictions: Path,
    references: Path,
    unit: Unit,
    normalization: tuple[str, ...],
    equivalences: Pairs,
    top: int,
    out: Path | None,
) -> None:
    """Count which characters of the references the transcriptions in PREDICTIONS confuse, by class, and which words.

    The texts are compared as for CER, after --normalization, and the totals are those of CER and WER.
    An empty side of a confusion is a character that was added or left out. Invented is what stands on pages without
    text, and runs of five added words and more.

    \b
    Examples:
      ocr-verify errors model.jsonl --references metadata.jsonl
      ocr-verify errors model.jsonl --references metadata.jsonl --top 50 --json errors.json
    """
    pages = predicted_pages(predictions, references, normalization, equivalences)
    table = error_table(progress(pages, "pages"), unit)
    for line in _lines(table, top):
        click.echo(line)
    if out is not None:
        write_json_atomic(out, table.as_dict())


def _lines(table: ErrorTable, top: int) -> Iterator[str]:
    for name, edits in (("characters", table.character_edits), ("words", table.word_edits)):
        yield (
            f"{name}: {edits.distance:,} errors in {edits.reference_length:,} ({edits.error_rate:.4f}): "
            f"{edits.substitutions:,} wrong, {edits.deletions:,} missing, {edits.insertions:,} added"
        )
    invented = table.invented
    yield (
        f"invented: {invented.invented:,} of {invented.written:,} written characters ({invented.rate:.4f}), "
        f"on {invented.inventing:,} of {invented.pages:,} pages"
    )
    yield ""
    for name, count in sorted(table.classes.items(), key=lambda item: -item[1].errors):
        yield f"{name:12}{count.errors:8,} errors, {count.occurrences:10,} in the references"
    yield ""
    for confusion, number in table.frequent(table.characters, top):
        page, around = table.examples[confusion]
        yield f"{number:8,}  {_shown(confusion):14}  {visible(page)}: {visible(around)}"
    yield ""
    for confusion, number in table.frequent(table.words, top):
        yield f"{number:8,}  {_shown(confusion)}"


def _shown(confusion: Confusion) -> str:
    before, after = (visible(side.replace(" ", "␣")) if side else "∅" for side in confusion)
    return f"{before} → {after}"

"""`ocr-verify diff`: what a transcription got wrong, character by character."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import click

from ocr_verifiers.files.jsonl import RecordError, write_json_atomic
from ocr_verifiers.files.page_rows import page_of, read_page_rows
from ocr_verifiers.text.diff import diff_lines, shown_lines, text_diff, visible
from ocr_verifiers.text.edit_distance import UNITS, EditCounts, Unit, char_edits, pool, word_edits
from ocr_verifiers.text.normalize import nfc, normalize
from ocr_verifiers.text.quoting import shown

_COMPARED = ("nfc", "whitespace")
"""What CER and WER are counted after, as in `ocr-verify score`."""


class Pair(NamedTuple):
    name: str
    reference: str
    completion: str


@click.command(short_help="Show where transcriptions differ from references.")
@click.argument("reference", required=False, type=click.Path(path_type=Path))
@click.argument("completion", required=False, type=click.Path(path_type=Path))
@click.option("--references", type=click.Path(path_type=Path), help="JSON Lines of true transcriptions, for two files.")
@click.option("--predictions", type=click.Path(path_type=Path), help="JSON Lines of transcriptions to compare.")
@click.option("--page", "pages", multiple=True, help="Compare this page only; may be given several times.")
@click.option("--words", is_flag=True, help="Show whole words as replaced, not characters.")
@click.option("--unit", type=click.Choice(UNITS), default=UNITS[0], show_default=True, help="What a character is.")
@click.option("--context", type=click.IntRange(min=0), default=2, show_default=True, help="Equal lines around others.")
@click.option("--color/--no-color", default=None, help="[default: on a terminal, unless NO_COLOR is set]")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the rates and all spans here.")
def diff(
    reference: Path | None,
    completion: Path | None,
    references: Path | None,
    predictions: Path | None,
    pages: tuple[str, ...],
    words: bool,
    unit: str,
    context: int,
    color: bool | None,
    out: Path | None,
) -> None:
    """Show where COMPLETION differs from REFERENCE, two text files; or all pages of two JSON Lines files.

    What only the reference has is red, or [-so-] without colour; what only the completion has is green, or {+so+}.
    A line end that only one of them has is ⏎, and characters that print nothing are named. The texts are compared
    after NFC, lines before characters. CER and WER are counted as in `ocr-verify score`: after white space collapsing.

    Exit code 0 if the texts are equal after NFC, 1 if they differ, 2 for bad input.

    \b
    Examples:
      ocr-verify diff reference.md completion.md
      ocr-verify diff --references metadata.jsonl --predictions model.jsonl --page p1.png --words
      ocr-verify diff reference.txt completion.txt --color | less -R
    """
    if out is not None and not out.absolute().parent.is_dir():
        raise RecordError(f"{out}: the folder {out.parent} does not exist")
    if color is None:
        color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    if reference and completion and not (references or predictions or pages):
        pairs = iter([Pair(str(completion), _read_text(reference), _read_text(completion))])
    elif references and predictions and not (reference or completion):
        pairs = _pairs(references, predictions, pages)
    else:
        raise click.UsageError("give two text files, or --references and --predictions")
    rows: list[dict[str, Any]] = []
    characters, wordwise, different = [], [], 0
    for name, true, text in pairs:
        spans = text_diff(nfc(true), nfc(text), cast(Unit, unit), words)
        lines = diff_lines(spans)
        true, text = normalize(true, _COMPARED), normalize(text, _COMPARED)
        characters.append(char_edits(true, text, cast(Unit, unit)))
        wordwise.append(word_edits(true, text))
        differs = any(line.differs for line in lines)
        different += differs
        if differs or not predictions:
            click.echo(f"{visible(name)}  {_rates(characters[-1], wordwise[-1])}")
            for line in shown_lines(lines, context, color) if differs else ():
                click.echo(line, color=color)
        if out is not None:
            rows.append(_row(name, characters[-1], wordwise[-1]) | {"spans": [span._asdict() for span in spans]})
    if predictions:
        click.echo(f"{different:,} of {len(characters):,} pages differ  {_rates(pool(characters), pool(wordwise))}")
    if out is not None:
        write_json_atomic(out, _row("all", pool(characters), pool(wordwise)) | {"pages": rows})
    if different:
        raise click.exceptions.Exit(1)


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error


def _pairs(references: Path, predictions: Path, wanted: tuple[str, ...]) -> Iterator[Pair]:
    """Pages in the order of the references; only the predictions are held in memory."""
    completions = {}
    named = {page_of(name): name for name in wanted}
    for row in read_page_rows(predictions):
        if wanted and page_of(row.name) not in named:
            continue
        if row.text is None:
            raise RecordError(f'{row.where}: "text" of {shown(row.name)} is not a string; write "" for an empty page')
        completions[page_of(row.name)] = row
    for page, name in named.items():
        if page not in completions:
            raise RecordError(f"{predictions}: has no page {shown(name)}")
    for row in read_page_rows(references):
        prediction = completions.pop(page_of(row.name), None)
        if prediction is not None and row.text is not None:
            yield Pair(row.name, row.text, prediction.text or "")
    for prediction in completions.values():
        raise RecordError(f"{prediction.where}: {shown(prediction.name)} has no reference in {references}")


def _rates(characters: EditCounts, words: EditCounts) -> str:
    return (
        f"CER {characters.error_rate:.4f} ({characters.distance:,}/{characters.reference_length:,})  "
        f"WER {words.error_rate:.4f} ({words.distance:,}/{words.reference_length:,})"
    )


def _row(name: str, characters: EditCounts, words: EditCounts) -> dict[str, Any]:
    return {
        "name": name,
        "cer": characters.error_rate,
        "wer": words.error_rate,
        "char_edits": characters.distance,
        "reference_chars": characters.reference_length,
        "word_edits": words.distance,
        "reference_words": words.reference_length,
    }

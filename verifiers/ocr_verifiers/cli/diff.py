"""`ocr-verify diff`: shows what a transcription got wrong, character by character."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from ocr_verifiers.cli.format_option import format_option
from ocr_verifiers.cli.output_option import FileCommand, OutputFile
from ocr_verifiers.cli.text_options import text_options
from ocr_verifiers.files.diff import DiffOptions, page_diffs, rates_row
from ocr_verifiers.files.jsonl import write_json_atomic
from ocr_verifiers.text.diff import shown_lines, visible
from ocr_verifiers.text.edit_distance import UNITS, EditCounts, pool


@click.command(cls=FileCommand, short_help="Show where transcriptions differ from references.")
@click.argument("reference", required=False, type=click.Path(path_type=Path))
@click.argument("completion", required=False, type=click.Path(path_type=Path))
@click.option("--references", type=click.Path(path_type=Path), help="JSON Lines of true transcriptions.")
@click.option("--predictions", type=click.Path(path_type=Path), help="JSON Lines of transcriptions to compare.")
@click.option("--page", "pages", multiple=True, help="Compare only this page; may be repeated.")
@click.option("--words", is_flag=True, help="Show whole words as replaced, not characters.")
@click.option("--unit", type=click.Choice(UNITS), default=UNITS[0], show_default=True, help="What a character is.")
@text_options
@format_option
@click.option("--context", type=click.IntRange(min=0), default=2, show_default=True, help="Equal lines around others.")
@click.option("--color/--no-color", default=None, help="[default: on a terminal, unless NO_COLOR is set]")
@click.option("--json", "out", type=OutputFile(), help="Write the rates and all spans here.")
def diff(context: int, color: bool | None, out: Path | None, **options: Any) -> None:
    """Show where COMPLETION differs from REFERENCE, two text files; or all pages of two JSON Lines files.

    Text that only the reference has is red, or [-so-] without colour; text that only the completion has is green, or
    {+so+}. A line end that only one of them has is shown as ⏎, and characters that print nothing are named. The texts
    are compared after --normalization, but with their line ends, lines before characters. CER and WER are counted as in
    `ocr-verify score`: after white space collapsing too.

    Exit code 0 if the texts are equal after that, 1 if they differ, 2 for bad input.

    \b
    Examples:
      ocr-verify diff reference.md completion.md
      ocr-verify diff --references metadata.jsonl --predictions model.jsonl --page p1.png --words
      ocr-verify diff reference.txt completion.txt --color | less -R
    """
    chosen = DiffOptions(**options)
    if not (chosen.of_texts or chosen.of_pages):
        raise click.UsageError("give two text files, or --references and --predictions")
    if color is None:
        color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    characters, words, rows, different = [], [], [], 0
    for page in page_diffs(chosen):
        characters.append(page.characters)
        words.append(page.words)
        different += page.differs
        if page.differs or chosen.of_texts:
            malformed = f"  not valid {chosen.output}: {page.malformed}" if page.malformed else ""
            click.echo(f"{visible(page.name)}  {_rates(page.characters, page.words)}{malformed}")
        for line in shown_lines(page.lines, context, color) if page.differs else ():
            click.echo(line, color=color)
        if out is not None:
            row = rates_row(page.name, page.characters, page.words)
            if page.malformed:
                row["malformed"] = page.malformed
            rows.append(row | {"spans": [span._asdict() for span in page.spans]})
    if chosen.of_pages:
        click.echo(f"{different:,} of {len(characters):,} pages differ  {_rates(pool(characters), pool(words))}")
    if out is not None:
        write_json_atomic(out, rates_row("all", pool(characters), pool(words)) | {"pages": rows})
    if different:
        raise click.exceptions.Exit(1)


def _rates(characters: EditCounts, words: EditCounts) -> str:
    return (
        f"CER {characters.error_rate:.4f} ({characters.distance:,}/{characters.reference_length:,})  "
        f"WER {words.error_rate:.4f} ({words.distance:,}/{words.reference_length:,})"
    )

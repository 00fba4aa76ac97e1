"""`ocr-rl transcribe`: images and PDFs to text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocr_rl.cli.crop_options import crop_of, crop_options
from ocr_rl.cli.errors import fail_if_unread, stoppable, user_errors
from ocr_rl.cli.options import engine_option, find_lines_option, model_options, retry_errors_option, workers_option
from ocr_rl.cli.progress import console

if TYPE_CHECKING:
    from ocr_rl.evaluation.transcribe import Transcription


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--model", default="tiny-scans", show_default=True, help='Folder or hub id of a policy, "tiny" or "tiny-scans".'
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write one .md file per page into this folder, or a line per page to this .jsonl file.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=2048,
    show_default=True,
    help="Maximum tokens of a transcription; of each line where lines are found.",
)
@click.option(
    "--as",
    "written_as",
    type=click.Choice(["markdown", "raw", "text", "jsonl", "page-xml", "alto", "hocr"]),
    default="markdown",
    show_default=True,
    help="Markdown whatever the model writes, that as it is, text without markup, rows, or layout files.",
)
@click.option("--samples", type=click.IntRange(min=2), help="Also draw N transcriptions of each page.")
@click.option(
    "--temperature", type=click.FloatRange(0, min_open=True), help="Temperature of the samples.  [default: 1]"
)
@click.option("--consensus", is_flag=True, help="Take the text with the fewest edits to all of them.")
@click.option("--confidence", is_flag=True, help="Write how sure each line, word and character is.")
@click.option(
    "--calibration",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What ocr-rl calibrate wrote for this model: confidences become probabilities.",
)
@click.option("--seed", type=int, help="Seed of the samples.  [default: 0]")
@find_lines_option
@crop_options
@engine_option
@workers_option
@retry_errors_option
@model_options
@user_errors
def transcribe(
    source: Path, out: Path | None, written_as: str, level: str | None, cuts: tuple[str, ...], **options: Any
) -> None:
    """Transcribe SOURCE, an image, a PDF, or a folder of them, or an export with PAGE-XML, ALTO or hOCR.

    Pages are read several at a time and written in the order of their names. A .jsonl file has a line {"id", "text",
    "finish_reason"} per page, which `ocr-rl eval --predictions` reads; a folder has a file per page, and such lines
    with its "file" in pages.jsonl. The same command continues where it was stopped or killed.

    --as page-xml, alto and hocr write a file per page into the folder. The texts are on the lines of SOURCE's own
    layout files: by id with --level line, otherwise by alignment with the texts that they have.

    A model that was trained on lines, such as tiny-scans, gets one line at a time, which is found on the image;
    --find-lines asks for that with any model. Layout files then have these lines. It suits typescript and print;
    pages with handwriting, tables or pictures need layout files of other programs. Rows say how many lines there were
    in "found_lines".

    Decoding is greedy. --samples 8 --confidence adds to each row its "confidence", [start, end, confidence] of its
    "lines", "words" and "spans" of characters, and the "samples"; layout files get WC, x_wconf or conf. `ocr-rl review`
    shows the least sure pages first. --consensus writes what the samples agree on.

    A text that is not in the model's output format stays as it is, and its line says why in "malformed".

    A page that cannot be read has an "error" and an empty text, or no file; the exit code is then 1.

    \b
    ocr-rl transcribe letter.png
    ocr-rl transcribe book.pdf --model org/vlm --out transcribed/
    ocr-rl transcribe scans/ --model runs/a/checkpoints/step_000060 --out scans.jsonl
    ocr-rl transcribe export.zip --level line --as page-xml --out transcribed/
    ocr-rl transcribe scans/ --samples 8 --confidence --out scans.jsonl
    """
    from ocr_rl.evaluation import transcribe as transcribing

    check_format(written_as, out)
    options["samples"] = options["samples"] or 0
    options["written_as"] = "markdown" if written_as == "jsonl" else written_as
    chosen = transcribing.TranscribeOptions(crop=crop_of(level, cuts), **options)
    if chosen.confidence and out is None and written_as != "jsonl":
        raise ValueError("--confidence has no effect: the text alone is printed; add --out, or --as jsonl")
    with stoppable():
        if out is None:
            pages = transcribing.transcribe(source, chosen, console())
            if written_as == "jsonl":
                fail_if_unread(print_rows(pages))
                return
            alone = len(list(islice(transcribing.pages_of(source, chosen.crop), 2))) == 1
            fail_if_unread(print_all(pages, chosen.max_tokens, alone))
            return
        unread = transcribing.write_transcriptions(out, source, chosen, console())
    file = out if out.suffix == ".jsonl" else out / "pages.jsonl"
    fail_if_unread(unread, f"; see the rows with an error in {file}")


def check_format(written_as: str, out: Path | None) -> None:
    """Raises ValueError for a format that needs another --out."""
    if written_as == "jsonl" and out is not None and out.suffix != ".jsonl":
        raise ValueError(f"{out}: --as jsonl writes one file; name it *.jsonl")
    if written_as in ("page-xml", "alto", "hocr") and out is None:
        raise ValueError(f"--as {written_as} writes a file for each page; add --out FOLDER")


def print_rows(pages: Iterable[Transcription]) -> int:
    """The transcriptions on stdout, a line each as in a .jsonl file; how many could not be read."""
    unread = 0
    for page in pages:
        click.echo(json.dumps(page.row()))
        unread += bool(page.error)
    return unread


def print_all(pages: Iterable[Transcription], max_tokens: int, alone: bool) -> int:
    """The transcriptions on stdout, under headings unless there is only one page; how many could not be read."""
    unread = 0
    for page in pages:
        if page.error:
            unread += 1
            click.echo(f"{page.id}: {page.error}", err=True)
            continue
        if page.malformed:
            click.echo(f"{page.id}: is as the model wrote it: {page.malformed}", err=True)
        if not page.finished:
            click.echo(f"{page.id}: cut off at {max_tokens} tokens; raise --max-tokens", err=True)
        click.echo(page.text if alone else f"# {page.id}\n\n{page.text}\n")
    return unread

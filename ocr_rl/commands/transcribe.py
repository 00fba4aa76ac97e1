"""`ocr-rl transcribe`: images and PDFs to text."""

from __future__ import annotations

from pathlib import Path

import click

from ocr_rl.commands.options import (
    load_engine,
    model_options,
    user_errors,
)


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="tiny", show_default=True, help='Folder or hub id of a policy, or "tiny".')
@click.option("--out", type=click.Path(path_type=Path), help="Write one .md file per page into this folder.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=2048, show_default=True, help="Tokens of a transcription."
)
@model_options
@user_errors
def transcribe(
    source: Path,
    model: str,
    out: Path | None,
    max_tokens: int,
    max_pixels: int,
    prompt: str,
    trust_remote_code: bool,
) -> None:
    """Transcribe SOURCE, an image, a PDF, or a folder of them; greedy.

    \b
    ocr-rl transcribe letter.png
    ocr-rl transcribe book.pdf --model org/vlm --out transcribed/
    """
    from ocr_rl.evaluate import transcribe as run
    from ocr_rl.page_files import pages_of

    pages = pages_of(source, prompt)
    engine = load_engine(model, max_pixels, trust_remote_code)
    for page in pages:
        completion = run(engine, [page], max_tokens)[0]
        if not completion.finished:
            click.echo(f"{page.id}: cut off at {max_tokens} tokens; raise --max-tokens", err=True)
        if out is None:
            click.echo(completion.text if len(pages) == 1 else f"# {page.id}\n\n{completion.text}\n")
        else:
            target = out / (page.id.replace("#", "_pg") + ".md")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(completion.text + "\n", encoding="utf-8")

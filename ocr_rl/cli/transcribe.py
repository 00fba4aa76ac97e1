"""`ocr-rl transcribe`: images and PDFs to text."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.loading import engine_option, load_engine
from ocr_rl.cli.options import model_options
from ocr_rl.cli.resumable import Pages, data_settings, failed_pages, interruptions, model_settings, run_into

if TYPE_CHECKING:
    from ocr_rl.rewards.reward_function import ScoredGroup
    from ocr_rl.rollouts.engine import Engine
    from ocr_rl.rollouts.ordered import Result
    from ocr_rl.types import Completion, Group


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="tiny", show_default=True, help='Folder or hub id of a policy, or "tiny".')
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write one .md file per page into this folder, or a line per page to this .jsonl file.",
)
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=2048, show_default=True, help="Tokens of a transcription."
)
@engine_option
@model_options
@user_errors
def transcribe(
    source: Path,
    model: str,
    out: Path | None,
    max_tokens: int,
    engine: str,
    max_pixels: int,
    prompt: str,
    trust_remote_code: bool,
) -> None:
    """Transcribe SOURCE, an image, a PDF, or a folder of them; greedy.

    Pages are read several at a time and written in the order of their names. A .jsonl file has a line {"id", "text",
    "finish_reason"} per page, which `ocr-rl eval --predictions` reads; a folder has a file per page, and such lines
    with its "file" in pages.jsonl. The same command goes on where it was stopped or killed.

    A page that cannot be read has an "error" and an empty text, or no file; the exit code is 1 then.

    \b
    ocr-rl transcribe letter.png
    ocr-rl transcribe book.pdf --model org/vlm --out transcribed/
    ocr-rl transcribe scans/ --model runs/a/checkpoints/step_000060 --out scans.jsonl
    """
    from ocr_rl.config.loader import check_model_path
    from ocr_rl.data.unlabelled import Unread, walk_pages

    check_model_path(model)
    pages = walk_pages(source, prompt)

    load = partial(load_engine, model, max_pixels, trust_remote_code, engine)

    def results(loaded: Engine, rest: Pages, _there: int = 0) -> Generator[Result, None, None]:
        from ocr_rl.rollouts.engine import Sampling
        from ocr_rl.rollouts.ordered import in_order

        return in_order(loaded, rest, Sampling(1, 0.0, max_tokens), seed=0)

    if out is None:
        first = list(islice(pages, 2))
        with interruptions(), closing(load()) as loaded, closing(results(loaded, chain(first, pages))) as found:
            failed = print_all(found, max_tokens, alone=len(first) == 1)
        failed_pages(failed)
        return
    as_text = out.suffix == ".jsonl"
    if as_text and not out.parent.is_dir():
        raise ValueError(f"--out {out}: the folder {out.parent} does not exist")
    settings = {
        "command": "transcribe",
        **model_settings(model, max_pixels),
        "engine": engine,
        "data": data_settings(source),
        "prompt": prompt,
        "max_tokens": max_tokens,
    }
    cut_off = 0

    def row(result: Result) -> dict[str, Any]:
        nonlocal cut_off
        if isinstance(result, Unread):
            return {"id": result.id, **({"text": ""} if as_text else {}), "error": result.why}
        page_id, completion = only(result)
        cut_off += not completion.finished
        kept = {"text": completion.text} if as_text else {"file": write_text(out, page_id, completion.text)}
        return {"id": page_id, **kept, "finish_reason": completion.finish_reason}

    try:
        run_into(out if as_text else out / "pages.jsonl", settings, pages, load, results, row)
    finally:
        if cut_off:
            click.echo(f"{cut_off} cut off at {max_tokens} tokens; raise --max-tokens", err=True)


def print_all(results: Iterable[Result], max_tokens: int, alone: bool) -> int:
    """The transcriptions on stdout, under headings unless there is but one page; how many could not be read."""
    from ocr_rl.data.unlabelled import Unread

    failed = 0
    for result in results:
        if isinstance(result, Unread):
            failed += 1
            click.echo(f"{result.id}: {result.why}", err=True)
            continue
        page_id, completion = only(result)
        if not completion.finished:
            click.echo(f"{page_id}: cut off at {max_tokens} tokens; raise --max-tokens", err=True)
        click.echo(completion.text if alone else f"# {page_id}\n\n{completion.text}\n")
    return failed


def only(result: ScoredGroup | Group) -> tuple[str, Completion]:
    """The page's id and its one completion."""
    from ocr_rl.types import Group

    group = result if isinstance(result, Group) else result.group
    return group.page.id, group.completions[0]


def write_text(folder: Path, page_id: str, text: str) -> str:
    """Write the page's .md file, on disk when its name is returned."""
    from ocr_rl.runs.atomic import write_atomically

    name = page_id.replace("#", "_pg") + ".md"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / name, text + "\n")
    return name

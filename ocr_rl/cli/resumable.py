"""What `rollout` and `transcribe` share: pages through an engine into a file that can be gone on with."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocr_rl.cli.errors import fail

if TYPE_CHECKING:
    from ocr_rl.data.unlabelled import Unread
    from ocr_rl.rollouts.engine import Engine
    from ocr_rl.rollouts.ordered import Result
    from ocr_rl.types import Page

Pages = Iterable["Page | Unread"]
Results = Callable[["Engine", Pages, int], "Generator[Result, None, None]"]
"""What becomes of pages, in their order; the number is how many came before them."""


def run_into(
    path: Path,
    settings: Mapping[str, Any],
    pages: Pages,
    engine: Callable[[], Engine],
    results: Results,
    row: Callable[[Result], Mapping[str, Any]],
    total: int | None = None,
) -> None:
    """Append the rows of the pages that have none in `path` yet.

    Without any the engine is not loaded. The exit code is 1 if a row holds an error, whenever it was written.
    """
    from ocr_rl.runs.jsonl_file import RowFile

    waiting = iter(pages)
    waiting = chain([next(waiting)], waiting)  # having no pages is told before there is a file
    path.parent.mkdir(parents=True, exist_ok=True)
    with RowFile(path, settings) as file:
        rest = file.rest(waiting)
        there = file.rows
        if there:
            click.echo(f"{there} pages are in {path} already", err=True)
        if (first := next(rest, None)) is not None:
            with (
                interruptions(lambda: f"{file.rows} pages are in {path}; the same command goes on"),
                closing(engine()) as loaded,
                page_bar(total, there) as done,
                closing(results(loaded, chain([first], rest), there)) as found,
            ):
                began = time.monotonic()
                for result in found:
                    file.append(row(result))
                    done()
            new, seconds = file.rows - there, time.monotonic() - began
            click.echo(f"{new} pages in {seconds:.1f} s, {new / seconds:.2f} pages/s", err=True)
        failed = file.errors
    failed_pages(failed, f"; see the rows with an error in {path}")


def failed_pages(count: int, where: str = "") -> None:
    """Exit code 1, if there are any."""
    if count:
        fail(f"{count} page{'s' * (count != 1)} could not be read{where}", code=1)


@contextmanager
def interruptions(addition: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Ctrl-C and an engine that fails for good are one message, to which `addition` adds."""
    from ocr_rl.errors import EngineError

    try:
        yield
    except KeyboardInterrupt:
        fail(f"stopped\n{addition()}".strip(), code=130)
    except EngineError as error:
        fail(f"{error}\n{addition()}".strip(), code=1)


@contextmanager
def page_bar(total: int | None, there: int = 0) -> Iterator[Callable[[], object]]:
    """Pages and pages per second on stderr: all the time on a terminal, once a minute in a log."""
    from tqdm import tqdm

    often = 0.1 if sys.stderr.isatty() else 60.0
    with tqdm(total=total, initial=there, unit="page", mininterval=often, delay=often, file=sys.stderr) as bar:
        yield bar.update


def model_settings(model: str, max_pixels: int) -> dict[str, Any]:
    """What the rows of two runs must share of the model: also when its weights were written."""
    folder = Path(model)
    if model == "tiny" or not folder.is_dir():
        return {"model": model, "max_pixels": max_pixels}
    newest = max((file.stat().st_mtime for file in folder.glob("*.safetensors")), default=0.0)
    written = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(newest))
    return {"model": str(folder.resolve()), "weights_written": written, "max_pixels": max_pixels}


def data_settings(data: str | Path) -> str:
    """A path as it is found from every folder; a hub id as it is."""
    return str(Path(data).resolve()) if Path(data).exists() else str(data)

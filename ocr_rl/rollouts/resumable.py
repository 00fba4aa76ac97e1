"""Pages through an engine into a JSON Lines file, a row for each; the same call continues after an interruption."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ocr_rl.data.unlabelled import Unread
from ocr_rl.errors import EngineError
from ocr_rl.rollouts.console import SILENT, Console
from ocr_rl.rollouts.engine import Engine
from ocr_rl.rollouts.ordered import Result
from ocr_rl.runs.jsonl_file import RowFile
from ocr_rl.types import Page

Pages = Iterable[Page | Unread]


@dataclass(frozen=True)
class RowJob:
    """How pages become rows."""

    pages: Pages
    load_engine: Callable[[], Engine]
    """Called once, and only if there is a page without a row."""
    results: Callable[[Engine, Pages, int], Generator[Result, None, None]]
    """Takes the engine, the pages without a row, and the number of pages before them; keeps their order."""
    row: Callable[[Result], Mapping[str, Any]]
    total: int | None = None
    """The number of pages, if it is known."""
    retry_errors: bool = False
    """Whether pages whose row in the file has an "error" are tried again."""


def append_rows(path: Path, settings: Mapping[str, Any], job: RowJob, console: Console = SILENT) -> int:
    """Append a row to `path` for each page that has none yet; the number of rows with an "error", old ones included.

    Raises:
        ValueError: the file was made with other settings or of other pages, or another process writes to it.
        EngineError: the engine cannot continue; the message says how many rows there are.
        KeyboardInterrupt: with the same message.
    """
    pages = iter(job.pages)
    pages = chain([next(pages)], pages)  # a folder without pages is an error before there is a file
    path.parent.mkdir(parents=True, exist_ok=True)
    with RowFile(path, settings) as file:
        rest = file.rest(pages)
        if file.rows:
            console.say(f"{file.rows} pages are in {path} already")
        if (first := next(rest, None)) is not None:
            with _interruptions(file):
                _generate(file, chain([first], rest), job, console)
        if job.retry_errors and file.failed:
            _retry(file, job, console)
        return file.errors


def _retry(file: RowFile, job: RowJob, console: Console) -> None:
    """New rows in the place of those with an error, also of the pages done when something stops the engine."""
    failed = [page for page in file.failed if isinstance(page, (Page, Unread))]
    rows: dict[str, Mapping[str, Any]] = {}
    try:
        with closing(job.load_engine()) as engine, closing(job.results(engine, failed, 0)) as results:
            for result in results:
                row = job.row(result)
                rows[row["id"]] = row
    finally:
        file.replace(rows)
    repaired = sum("error" not in row for row in rows.values())
    console.say(f"{repaired} of {len(failed)} pages with an error can be read now")


def _generate(file: RowFile, pages: Pages, job: RowJob, console: Console) -> None:
    there = file.rows
    with (
        closing(job.load_engine()) as engine,
        console.bar("", job.total, there) as report,
        closing(job.results(engine, pages, there)) as results,
    ):
        began = time.monotonic()
        for result in results:
            file.append(job.row(result))
            report(file.rows)
        seconds = time.monotonic() - began
    new = file.rows - there
    console.say(f"{new} pages in {seconds:.1f} s, {new / seconds:.2f} pages/s")


@contextmanager
def _interruptions(file: RowFile) -> Iterator[None]:
    """Whatever stops the engine says how many rows are in the file."""

    def message(error: BaseException) -> str:
        return f"{error}\n{file.rows} pages are in {file.path}; the same command continues".strip()

    try:
        yield
    except EngineError as error:
        raise EngineError(message(error)) from error
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(message(error)) from error

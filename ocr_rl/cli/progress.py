"""Messages and progress bars on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

if TYPE_CHECKING:
    from ocr_rl.rollouts.console import Console

Item = TypeVar("Item")
LINE_S = 60.0
"""Seconds between two lines in a log."""


def console() -> Console:
    from ocr_rl.rollouts.console import Console

    return Console(say=lambda message: click.echo(message, err=True), bar=page_bar)


@contextmanager
def page_bar(label: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], object]]:
    """Pages, pages per second and time left: a bar on a terminal, a line a minute in a log."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    wait = 0.1 if terminal else LINE_S
    file: Any = sys.stderr if terminal else _Lines(sys.stderr)
    with tqdm(
        total=total, initial=done, desc=label or None, unit="page", mininterval=wait, delay=wait, file=file
    ) as bar:
        yield lambda pages: bar.update(pages - bar.n)


class _Lines:
    """Where a bar writes that nobody watches: each of its states becomes a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if state := text.strip():
            self._stream.write(f"{state}\n")

    def flush(self) -> None:
        self._stream.flush()


def progress(label: str) -> Callable[[Iterable[Item]], Iterable[Item]]:
    """A bar around what is iterated over."""

    def shown(items: Iterable[Item]) -> Iterable[Item]:
        with page_bar(label, len(items) if isinstance(items, Sized) else None) as report:
            for number, item in enumerate(items, 1):
                yield item
                report(number)

    return shown

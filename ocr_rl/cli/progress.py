"""Messages and progress bars on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from ocr_rl.rollouts.console import Console

Item = TypeVar("Item")


def console() -> Console:
    from ocr_rl.rollouts.console import Console

    return Console(say=lambda message: click.echo(message, err=True), bar=page_bar)


@contextmanager
def page_bar(label: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], object]]:
    """Pages and pages per second: at once on a terminal, once a minute in a log."""
    from tqdm import tqdm

    wait = 0.1 if sys.stderr.isatty() else 60.0
    with tqdm(
        total=total, initial=done, desc=label or None, unit="page", mininterval=wait, delay=wait, file=sys.stderr
    ) as bar:
        yield lambda pages: bar.update(pages - bar.n)


def progress(label: str) -> Callable[[Iterable[Item]], Iterable[Item]]:
    """A bar around what is iterated over, on a terminal."""

    def shown(items: Iterable[Item]) -> Iterable[Item]:
        with click.progressbar(items, label=label, file=sys.stderr) as bar:
            yield from bar

    return shown if sys.stderr.isatty() else iter

"""A progress bar on stderr, if stderr is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

import click

Item = TypeVar("Item")


def progress(items: Iterable[Item], label: str, length: int | None = None) -> Iterator[Item]:
    """The items, one by one; a terminal on stderr shows how many of `length` have been processed."""
    if not sys.stderr.isatty():
        yield from items
        return
    with click.progressbar(items, length=length, label=label, file=sys.stderr) as bar:
        yield from bar

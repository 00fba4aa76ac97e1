"""What long work says and shows while it runs: nothing, unless the caller gives it a `Console`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

ProgressCallback = Callable[[int], object]
"""Called with the number of pages that are done."""


class ProgressBar(Protocol):
    """Opens a progress bar over `total` pages (None: nobody knows how many), of which `done` are done already."""

    def __call__(self, label: str, total: int | None, done: int = 0) -> AbstractContextManager[ProgressCallback]: ...


@contextmanager
def no_bar(label: str, total: int | None, done: int = 0) -> Iterator[ProgressCallback]:
    yield lambda done: None


@dataclass(frozen=True)
class Console:
    say: Callable[[str], object] = lambda message: None
    """Called with each message, one or more lines."""
    bar: ProgressBar = no_bar


SILENT = Console()

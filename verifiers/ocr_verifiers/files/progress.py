"""What a long loop over rows or pages is passed through, so that a caller can show its progress."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Passes on the items one by one. `length` is how many there will be, if that is known."""

    def __call__(self, items: Iterable[Item], label: str, length: int | None = None) -> Iterable[Item]: ...


def silent(items: Iterable[Item], label: str, length: int | None = None) -> Iterable[Item]:
    """Shows nothing."""
    return items

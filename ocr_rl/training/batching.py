"""The order in which pages are drawn, and the seed of each step."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random
from typing import TypeVar

from ocr_rl.seeds import derive

Item = TypeVar("Item")


def epochs(items: Sequence[Item], size: int, seed: int, skip: int = 0) -> Iterator[list[Item]]:
    """Endless batches of `size` items, each epoch in its own seeded order; a batch may span two epochs.

    The first `skip` batches are left out, and their items not looked at.
    """
    return ([items[place] for place in batch] for batch in islice(_places(len(items), size, seed), skip, None))


class Batches(Iterator[list[Item]]):
    """Batches, the next of which can be looked at."""

    def __init__(self, batches: Iterator[list[Item]]) -> None:
        self._batches = batches
        self._next: list[Item] | None = None

    def __next__(self) -> list[Item]:
        batch, self._next = self.peek(), None
        return batch

    def peek(self) -> list[Item]:
        """What `next` will return."""
        if self._next is None:
            self._next = next(self._batches)
        return self._next


def _places(count: int, size: int, seed: int) -> Iterator[list[int]]:
    batch: list[int] = []
    epoch = 0
    while True:
        order = array("q", range(count))  # a list of a million numbers takes five times the memory
        Random(derive(seed, "epoch", epoch)).shuffle(order)
        for place in order:
            batch.append(place)
            if len(batch) == size:
                yield batch
                batch = []
        epoch += 1

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

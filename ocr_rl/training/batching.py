"""The order in which pages are drawn, and the seed of each step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

Item = TypeVar("Item")


def step_seed(step: int, seed: int) -> int:
    """All that is random in a step follows from this, so that a resumed run draws the same."""
    return seed * 1_000_003 + step


def epochs(items: Sequence[Item], size: int, seed: int) -> Iterator[list[Item]]:
    """Endless batches of `size` items, each epoch in its own seeded order; a batch may span two epochs."""
    batch: list[Item] = []
    epoch = 0
    while True:
        order = list(items)
        Random(f"{seed}:{epoch}").shuffle(order)
        for item in order:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
        epoch += 1

"""The pages of a training step as model inputs, so that the engine and the learner read each of them once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

from torch import Tensor

from ocr_rl.types import Page

Inputs = Mapping[str, Tensor]
LIMIT = 4 << 30
"""Bytes of inputs on the CPU; pages beyond are read again."""


class StepPages:
    """By page object, while a step is in progress. Engines may use it from threads of their own."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open = False
        self._step = 0
        self._kept: dict[int, tuple[Page, Inputs, int]] = {}
        """By `id`: the page, which so cannot be replaced by another one, its inputs, and the step that read it."""
        self._used: set[int] = set()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Inputs are kept until the end of this block; those that nobody asked for again, for one block more.

        The latter are pages of the next step, if the engine works ahead.
        """
        self._open, self._step = True, self._step + 1
        try:
            yield
        finally:
            with self._lock:
                self._open = False
                kept = {key: entry for key, entry in self._kept.items() if key not in self._used}
                self._kept = {key: entry for key, entry in kept.items() if entry[2] == self._step}
                self._used.clear()

    def __contains__(self, page: Page) -> bool:
        return id(page) in self._kept

    def get(self, page: Page) -> Inputs | None:
        with self._lock:
            if id(page) not in self._kept:
                return None
            self._used.add(id(page))
            return self._kept[id(page)][1]

    def put(self, page: Page, inputs: Inputs) -> None:
        with self._lock:
            if self._open and sum(map(size_of, (own for _, own, _ in self._kept.values()))) + size_of(inputs) <= LIMIT:
                self._kept[id(page)] = page, inputs, self._step

    def rename(self, page: Page, other: Page) -> None:
        """The inputs of `page` are those of `other`."""
        with self._lock:
            if id(page) in self._kept:
                _, inputs, step = self._kept.pop(id(page))
                self._kept[id(other)] = other, inputs, step


def size_of(inputs: Inputs) -> int:
    """Bytes."""
    return sum(tensor.nbytes for tensor in inputs.values())

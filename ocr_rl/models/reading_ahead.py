"""Reads pages in threads, before the engine or the learner asks for them.

Decoding, resampling and the processor's arithmetic leave Python's lock, so that threads do the work of processes and
need not copy pixels from one to another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from ocr_rl.models.step_pages import Inputs, size_of
from ocr_rl.types import ImageError, Page

LIMIT = 1 << 30
"""Bytes of inputs on the CPU that wait to be asked for."""
EXPECTED = 48 << 20
"""Bytes of a page until one has been read: two megapixels of a model that takes each of them twice."""


class Readers:
    """Several threads, each with a tokenizer that no other thread uses. A page is known by its object."""

    def __init__(self, count: int = 0) -> None:
        """With 0 `count`, each page is read when it is asked for."""
        self.count = count
        self._pool: ThreadPoolExecutor | None = None
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._waiting: dict[int, tuple[Page, Future[Inputs]]] = {}
        self._largest = 0
        """Bytes of the largest page so far."""

    def start(self, policy: Any, pages: Iterable[Page]) -> None:
        """Read these pages as `policy`, a `Policy`, does, if there is room; one that is waiting is not read twice."""
        if not self.count:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="reader")
            for _ in range(self.count):
                own = policy.with_own_processor()
                own.readers = Readers()
                self._idle.put(own)
        for page in pages:
            known = id(page) in self._waiting or page in policy.step_pages
            if not known and len(self._waiting) < self.room:
                self._waiting[id(page)] = page, self._pool.submit(self._read, page)

    @property
    def room(self) -> int:
        """How many pages may wait."""
        return max(self.count, LIMIT // (self._largest or EXPECTED))

    def take(self, page: Page) -> Inputs | None:
        """What reading the page gave; None if it was not started. Raises ImageError if it cannot be read."""
        _, reading = self._waiting.pop(id(page), (page, None))
        return None if reading is None else reading.result()

    def through(self, policy: Any, pages: Iterable[Page], ahead: int) -> Iterator[Page]:
        """The pages; up to `ahead` of them are read while the one before is in use."""
        if not self.count:
            yield from pages
            return
        started: deque[Page] = deque()
        try:
            for page in pages:
                self.start(policy, [page])
                started.append(page)
                if len(started) > min(ahead, self.room):
                    yield started.popleft()
            while started:
                yield started.popleft()
        finally:
            for page in started:  # nobody will ask for them
                self._drop(page)

    def _read(self, page: Page) -> Inputs:
        policy = self._idle.get()
        try:
            inputs: Inputs = policy.process(page)
        finally:
            self._idle.put(policy)
        self._largest = max(self._largest, size_of(inputs))
        return inputs

    def _drop(self, page: Page) -> None:
        _, reading = self._waiting.pop(id(page), (page, None))
        if reading is not None and not reading.cancel():
            with suppress(ImageError):
                reading.result()

"""When batches are sampled: in step order, by an engine that always has the right weights.

One step ahead, the engine samples batch t + 1 with the weights from before update t while update t is computed: it is
never more than one update behind, and the loss corrects for that as it does for any difference between the policy
that sampled and the one that learns (`ocr_rl.mismatch`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Engine

Batch = TypeVar("Batch")


class Schedule(Generic[Batch]):
    """What `sample(step)` gives, step by step; `policy` is trained between two calls of `take`."""

    def __init__(
        self, engine: Engine, policy: Policy, sample: Callable[[int], Batch], last: int, ahead: bool = False
    ) -> None:
        """`last` is the step after which nothing is sampled. `ahead` needs an engine with weights of its own."""
        self.engine, self.policy, self.sample, self.last = engine, policy, sample, last
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead") if ahead else None
        self._pending: Future[Batch] | None = None
        self.sync_s = 0.0
        """Seconds that the engine last took for new weights."""

    def take(self, step: int) -> Batch:
        """The batch of a step; steps are asked for in order. Raises what `sample` raises."""
        if self._thread is None:
            self.sync_engine()
            return self.sample(step)
        if self._pending is None:
            self.sync_engine()
            self._pending = self._thread.submit(self.sample, step)
        batch = self._pending.result()
        self.sync_engine()
        self._pending = self._thread.submit(self.sample, step + 1) if step < self.last else None
        return batch

    def sync_engine(self) -> None:
        """Wait until the engine is idle, and give it the policy's current weights."""
        if self._pending is not None:
            wait([self._pending])
        began = time.monotonic()
        self.engine.sync(self.policy)
        self.sync_s = time.monotonic() - began

    def close(self) -> None:
        """Wait for what is being sampled; it is dropped."""
        if self._thread is not None:
            self._thread.shutdown()

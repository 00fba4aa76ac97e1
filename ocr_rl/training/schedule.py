"""When batches are sampled: in step order, by an engine that has the right weights.

One step ahead, the engine samples batch t + 1 with the weights from before update t while update t is computed. It is
never more than one update behind, and the loss corrects for that as for any other difference between the sampling
policy and the trained one (`ocr_rl.objectives.off_policy`).

With several processes, the threads that sample ahead exchange their groups with each other (`distributed.aside`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from ocr_rl import distributed
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Engine

Batch = TypeVar("Batch")


class Schedule(Generic[Batch]):
    """Calls `sample(step)` step by step; `policy` is trained between two calls of `take`."""

    def __init__(
        self, engine: Engine, policy: Policy, sample: Callable[[int], Batch], last: int, ahead: bool = False
    ) -> None:
        """Nothing is sampled after step `last`. `ahead` needs an engine with its own copy of the weights."""
        self.engine, self.policy, self.sample, self.last = engine, policy, sample, last
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead") if ahead else None
        if ahead:
            distributed.open_aside()
        self._pending: Future[Batch] | None = None
        self.sync_s = 0.0
        """Seconds of the last transfer of weights."""

    def take(self, step: int) -> Batch:
        """The batch of a step, called for one step after another. Raises what `sample` raises."""
        if self._thread is None:
            self.sync_engine()
            return self.sample(step)
        if self._pending is None:
            self.sync_engine()
            batch = self.sample(step)
        else:
            batch = self._pending.result()
        self.sync_engine()
        self._pending = self._thread.submit(self._sample_ahead, step + 1) if step < self.last else None
        return batch

    def _sample_ahead(self, step: int) -> Batch:
        with distributed.aside():
            return self.sample(step)

    def sync_engine(self) -> None:
        """Wait until the engine is idle, and give it the policy's current weights."""
        if self._pending is not None:
            wait([self._pending])
        began = time.monotonic()
        self.engine.sync(self.policy)
        self.sync_s = time.monotonic() - began

    def close(self) -> None:
        """Wait for the batch that is being sampled, and drop it."""
        if self._thread is not None:
            self._thread.shutdown()
            distributed.close_aside()

"""Batches of scored groups, for the algorithms that learn from fresh samples."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

from ocr_rl import distributed
from ocr_rl.config.schema import Recipe
from ocr_rl.errors import TrainingStoppedError
from ocr_rl.models.policy import Policy
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.rollouts.engine import Engine, Sampling
from ocr_rl.rollouts.scoring import GroupScorer, RolledOut
from ocr_rl.seeds import derive
from ocr_rl.training.batching import Batches, epochs
from ocr_rl.training.readable import report_refused
from ocr_rl.training.rollout_metrics import Batch, Cost
from ocr_rl.training.schedule import Schedule
from ocr_rl.training.shared_rollout import roll_out
from ocr_rl.types import Page


class Rollouts:
    """Sampled by `engine` from the current policy, or with rollout.ahead from the one before; scored by `scorer`."""

    def __init__(
        self,
        policy: Policy,
        engine: Engine,
        pages: Sequence[Page],
        scorer: GroupScorer,
        recipe: Recipe,
        keep: Callable[[ScoredGroup], bool] | None = None,
        refill: int = 0,
    ) -> None:
        """Groups that `keep` rejects are replaced from up to `refill` further batches of pages."""
        rollout = recipe.rollout
        self.policy, self.engine, self.scorer, self.recipe = policy, engine, scorer, recipe
        self.keep, self.refill = keep, refill
        self.drawn = 0
        self.sampling = Sampling(rollout.group_size, rollout.temperature, rollout.max_tokens)
        self._batches = partial(epochs, pages, rollout.pages_per_step, recipe.train.seed)
        self._pages = Batches(self._batches())
        self._batches_per_epoch = 1 + len(pages) // rollout.pages_per_step
        self._last = recipe.train.steps or sys.maxsize
        self._schedule = Schedule(engine, policy, self._sample, self._last, rollout.ahead)

    def start(self, drawn: int) -> None:
        """Continue after this many batches of pages."""
        self._pages = Batches(self._batches(skip=drawn))
        self.drawn = drawn

    def take(self, step: int) -> Batch:
        """The batch of a step, called for one step after another. Refused pages are named on stderr and left out.

        Raises:
            TrainingStoppedError: no page of a whole epoch could be read.
            EngineError, FloatingPointError: as the engine raises them.
        """
        began = time.monotonic()
        rolled, drawn, cost = self._schedule.take(step)
        wait_s = time.monotonic() - began
        batch = Batch(**vars(rolled), wait_s=wait_s, sync_s=self._schedule.sync_s, drawn=drawn, cost=cost)
        report_refused(batch.refused)
        if not batch.groups:
            raise TrainingStoppedError(f"the engine could read none of the last {len(batch.refused)} pages")
        return batch

    def sync_engine(self) -> None:
        self._schedule.sync_engine()

    def close(self) -> None:
        self._schedule.close()

    def _sample(self, step: int) -> tuple[RolledOut, int, Cost]:
        """The groups of a step, how many batches of pages have been drawn so far, and the cost of this step.

        If no page of a batch can be read, another one is drawn, up to a whole epoch.
        """
        wanted = self.recipe.rollout.pages_per_step
        draws: list[RolledOut] = []
        kept: list[ScoredGroup] = []
        for draw in count():
            seed = derive(self.recipe.train.seed, "rollout", step, draw)
            permute = self.recipe.reward.permute
            draws.append(roll_out(self.scorer, self.engine, next(self._pages), self.sampling, seed, permute))
            self.drawn += 1
            kept += [group for group in draws[-1].groups if self.keep is None or self.keep(group)]
            if len(draws) > (self.refill if any(one.groups for one in draws) else self._batches_per_epoch - 1):
                break
            if kept and (self.keep is None or len(kept) >= wanted):
                break
        if step < self._last and self.policy.readers.count:  # while the learner is busy
            self.policy.readers.start(self.policy, distributed.mine(self._pages.peek()))
        rolled = RolledOut(
            # rejected groups are better than none
            kept[:wanted] or next((one.groups for one in draws if one.groups), []),
            [refused for one in draws for refused in one.refused],
            sum(one.generate_s for one in draws),
            sum(one.score_s for one in draws),
        )
        sampled = [c for one in draws for group in one.groups for c in group.group.completions]
        cost = Cost(len(draws) * wanted, len(sampled), sum(len(c.token_ids) for c in sampled))
        return rolled, self.drawn, cost

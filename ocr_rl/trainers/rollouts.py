"""Batches of scored groups for the algorithms that learn from fresh samples, and what is logged of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ocr_rl import distributed
from ocr_rl.config.schema import Recipe
from ocr_rl.models.policy import Policy
from ocr_rl.rewards.rewarder import ScoredGroup
from ocr_rl.rollouts.engine import Engine, Sampling
from ocr_rl.rollouts.scoring import RolledOut, Scorer
from ocr_rl.trainers.ahead import Schedule
from ocr_rl.trainers.loop import TrainingStopped, epochs, step_seed
from ocr_rl.types import Completion, Group, Page
from ocr_verifiers import Score, pool

SEEDS_APART = 40_000_003
"""Between the seeds of two processes in the same step; no run has so many steps. PyTorch's generator on the CPU takes
the lower 32 bits."""


class Cost(NamedTuple):
    """What was sampled for a batch, turned away or not."""

    pages: int = 0
    completions: int = 0
    tokens: int = 0


NO_COST = Cost()


@dataclass(frozen=True)
class Batch(RolledOut):
    """The scored groups of a step."""

    wait_s: float
    """Seconds that the trainer waited for them, those of taking weights over included."""
    sync_s: float
    """Seconds in which the engine took weights over."""
    drawn: int = 0
    """Batches of pages that were drawn since the run began."""
    cost: Cost = NO_COST


class Rollouts:
    """Sampled by `engine` from the policy of the step (or one before, see `ahead`), scored by `scorer`."""

    def __init__(
        self,
        policy: Policy,
        engine: Engine,
        pages: Sequence[Page],
        scorer: Scorer,
        recipe: Recipe,
        keep: Callable[[ScoredGroup], bool] | None = None,
        refill: int = 0,
    ) -> None:
        """Groups that `keep` turns away are replaced, from up to `refill` further batches of pages."""
        rollout = recipe.rollout
        self.engine, self.scorer, self.recipe = engine, scorer, recipe
        self.keep, self.refill = keep, refill
        self.drawn = 0
        self.sampling = Sampling(rollout.group_size, rollout.temperature, rollout.max_tokens)
        self._pages = epochs(pages, rollout.pages_per_step, recipe.train.seed)
        self._schedule = Schedule(engine, policy, self._sample, recipe.train.steps or sys.maxsize, rollout.ahead)

    def start(self, drawn: int) -> None:
        """Go on after so many batches of pages."""
        self._pages = islice(self._pages, drawn, None)
        self.drawn = drawn

    def take(self, step: int) -> Batch:
        """The batch of a step; steps are asked for in order. Refused pages are named on stderr and left out.

        Raises:
            TrainingStopped: no page could be read.
            EngineFailed, FloatingPointError: as the engine raises them.
        """
        began = time.monotonic()
        rolled, drawn, cost = self._schedule.take(step)
        wait_s = time.monotonic() - began
        batch = Batch(**vars(rolled), wait_s=wait_s, sync_s=self._schedule.sync_s, drawn=drawn, cost=cost)
        for page, why in batch.refused if distributed.first() else ():
            tqdm.write(f"{page.id}: left out: {why}", file=sys.stderr)
        if not batch.groups:
            raise TrainingStopped(f"the engine read none of the batch's {len(batch.refused)} pages")
        return batch

    def settle(self) -> None:
        self._schedule.settle()

    def close(self) -> None:
        self._schedule.close()

    def _sample(self, step: int) -> tuple[RolledOut, int, Cost]:
        """The groups of a step, how many batches of pages were drawn by then, and what this step's cost."""
        wanted = self.recipe.rollout.pages_per_step
        draws: list[RolledOut] = []
        kept: list[ScoredGroup] = []
        for draw in range(1 + self.refill):
            seed = step_seed(step, self.recipe.train.seed) + draw * 500_009
            permute = self.recipe.reward.permute
            draws.append(roll_out(self.scorer, self.engine, next(self._pages), self.sampling, seed, permute))
            self.drawn += 1
            kept += [group for group in draws[-1].groups if self.keep is None or self.keep(group)]
            if self.keep is None or len(kept) >= wanted:
                break
        rolled = RolledOut(
            kept[:wanted] or next((one.groups for one in draws if one.groups), []),  # those are reported all the same
            [refused for one in draws for refused in one.refused],
            sum(one.generate_s for one in draws),
            sum(one.score_s for one in draws),
        )
        sampled = [c for one in draws for group in one.groups for c in group.group.completions]
        cost = Cost(len(draws) * wanted, len(sampled), sum(len(c.token_ids) for c in sampled))
        return rolled, self.drawn, cost


def roll_out(
    scorer: Scorer, engine: Engine, pages: Sequence[Page], sampling: Sampling, seed: int, permute: bool = False
) -> RolledOut:
    """`Scorer.roll_out`, of which each process does its share; all hold the whole. `permute` is seeded too.

    What is drawn depends on how many processes there are.
    """
    seed += distributed.rank() * SEEDS_APART
    own = distributed.mine(pages)
    rolled = scorer.roll_out(engine, own, sampling, seed, Random(f"permute:{seed}") if permute else None)
    if distributed.count() == 1:
        return rolled
    reasons = {page.id: why for page, why in rolled.refused}
    groups = iter(rolled.groups)
    told = distributed.gather([reasons[page.id] if page.id in reasons else _Told.of(next(groups)) for page in own])
    times = distributed.gather([(rolled.generate_s, rolled.score_s)])
    return RolledOut(
        [one.about(page) for page, one in zip(pages, told, strict=True) if isinstance(one, _Told)],
        [(page, one) for page, one in zip(pages, told, strict=True) if isinstance(one, str)],
        max(generate_s for generate_s, _ in times),
        max(score_s for _, score_s in times),
    )


class _Told(NamedTuple):
    """A scored group without its page, which the other processes have."""

    completions: Sequence[Completion]
    scores: Sequence[Score]
    rewards: Sequence[float]

    @classmethod
    def of(cls, scored: ScoredGroup) -> _Told:
        return cls(scored.group.completions, scored.scores, scored.rewards)

    def about(self, page: Page) -> ScoredGroup:
        return ScoredGroup(Group(page, self.completions), self.scores, self.rewards)


def rollout_metrics(batch: Batch, learn_s: float) -> dict[str, float | None]:
    """What the batch looked like before the update, and where the time of the step went."""
    scored = batch.groups
    scores = [score for group in scored for score in group.scores]
    completions = [c for group in scored for c in group.group.completions]
    rewards = torch.tensor([group.rewards for group in scored])
    tokens = sum(len(c.token_ids) for c in completions)
    edits = [score.char_edits for score in scores if score.char_edits is not None]
    tests = sum(score.scored_tests for score in scores)
    parts = {name for score_ in scores for name in score_.parts}
    means: dict[str, float | None] = {}
    for name in sorted(parts):
        values = [s.parts[name] for s in scores if name in s.parts]
        means[f"reward/{name}"] = sum(values) / len(values)
    return {
        "reward": rewards.mean().item(),
        "reward_std": rewards.std(dim=1).mean().item() if rewards.shape[1] > 1 else None,
        **means,
        "pass_rate": sum(s.passed for s in scores) / tests if tests else None,
        **_pass_rates(scores),
        "cer": pool(edits).error_rate if edits else None,
        "completion_length": tokens / len(completions),
        "truncated_fraction": sum(not c.finished for c in completions) / len(completions),
        "tokens_per_s": tokens / (batch.wait_s + learn_s),
        "refused": len(batch.refused),
        "pages": batch.cost.pages,
        "completions": batch.cost.completions,
        "sampled_tokens": batch.cost.tokens,
        "time/wait": round(batch.wait_s, 3),
        "time/sync": round(batch.sync_s, 3),
        "time/generate": round(batch.generate_s, 3),
        "time/score": round(batch.score_s, 3),
        "time/learn": round(learn_s, 3),
    }


def _pass_rates(scores: Sequence[Score]) -> dict[str, float]:
    """`pass_rate/<kind>` of each kind of test."""
    passed: dict[str, list[bool]] = {}
    for score in scores:
        for test, verdict in score.verdicts:
            passed.setdefault(test.type, []).append(verdict.passed)
    return {f"pass_rate/{kind}": sum(own) / len(own) for kind, own in sorted(passed.items())}


def rollout_rows(scored: Sequence[ScoredGroup], advantages: Tensor) -> list[dict[str, Any]]:
    """One row per completion for rollouts/step_NNNNNN.jsonl."""
    rows = []
    for group, row in zip(scored, advantages.tolist(), strict=True):
        for completion, score, reward, advantage in zip(
            group.group.completions, group.scores, group.rewards, row, strict=True
        ):
            rows.append(
                {
                    "page": group.group.page.id,
                    "completion": completion.text,
                    "finish_reason": completion.finish_reason,
                    "reward": reward,
                    "parts": score.parts,
                    "tests": {test.id: verdict.passed for test, verdict in score.verdicts},
                    "advantage": advantage,
                }
            )
    return rows

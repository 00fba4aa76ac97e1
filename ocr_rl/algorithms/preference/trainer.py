"""Learning from preferences: sampled from the policy at each step, as in GRPO, or read from a file.

A batch is one optimiser step. What this is not: the reference is never renewed, and a file's preferences are not
weighted by how likely the policy is to write them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Generic

import torch
from torch import Tensor

from ocr_rl.algorithms.preference.learner import Example, PreferenceLearner
from ocr_rl.algorithms.preference.sources import Fresh, Source, Stored, fingerprint, of_pages
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.rollouts.engine import Engine
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.training.base import StepResult, Trainer, TrainerState
from ocr_rl.training.rollout_batches import Rollouts
from ocr_rl.training.rollout_metrics import rollout_metrics, rollout_rows
from ocr_rl.types import Page


class PreferenceTrainer(Trainer, Generic[Example]):
    """Learns the examples of a source by the update of `learner`."""

    def __init__(
        self, learner: PreferenceLearner[Example], source: Source[Example], stored: float | None = None
    ) -> None:
        """`stored` identifies the examples of a file; None: they are fresh."""
        self.learner, self.source = learner, source
        self.optimizer = learner.optimizer
        self._stored = stored
        self.state = TrainerState(numbers={} if stored is None else {"examples": stored})

    @classmethod
    def fresh(
        cls, learner: PreferenceLearner[Example], engine: Engine, pages: Sequence[Page], scorer: GroupScorer
    ) -> PreferenceTrainer[Example]:
        """Learn from groups that the policy samples in each step."""
        return cls(learner, Fresh(learner, Rollouts(learner.policy, engine, pages, scorer, learner.recipe)))

    @classmethod
    def stored(
        cls, learner: PreferenceLearner[Example], engine: Engine, examples: Sequence[Example]
    ) -> PreferenceTrainer[Example]:
        """Learn from the examples of a file."""
        return cls(learner, Stored(learner, engine, examples), fingerprint(examples))

    def start(self, done: int) -> None:
        """Raises ValueError if the steps up to `done` learned from another file."""
        if self.state.numbers.get("examples") != self._stored:
            raise ValueError(
                f"the preferences in {self.learner.recipe.pairs.path} have changed since the run began. "
                "Restore the old file, or start another run"
            )
        self.source.start(int(self.state.numbers.get("batches", done)))

    def step(self, step: int, rate: float) -> StepResult:
        taken = self.source.take(step)
        began = time.monotonic()
        metrics = self.learner.update(of_pages(taken.examples), rate, taken.prompts)
        self.state.numbers["batches"] = taken.drawn
        seconds = time.monotonic() - began
        if taken.batch is None:
            pages = len(of_pages(taken.examples))
            return StepResult(metrics | {"pages": pages, "refused": taken.refused, "time/learn": round(seconds, 3)})
        groups = taken.batch.groups
        used = {example.page.id for example in taken.examples}
        metrics["unused_fraction"] = 1 - sum(group.group.page.id in used for group in groups) / len(groups)
        rows = rollout_rows(groups, self._advantages(groups, taken.examples))
        return StepResult(metrics | rollout_metrics(taken.batch, seconds), rows)

    def dry_run(self, scored: Sequence[ScoredGroup]) -> None:
        self.learner.accumulate(self.source.examples_of(scored))

    def sync_engine(self) -> None:
        self.source.sync_engine()

    def close(self) -> None:
        self.source.close()

    def _advantages(self, groups: Sequence[ScoredGroup], examples: Sequence[Example]) -> Tensor:
        """(P, G): in how many examples a completion is made likelier, less those in which it is made less likely."""
        count: dict[int, float] = {}
        for example in examples:
            for completion, side in self.learner.sides(example):
                count[id(completion)] = count.get(id(completion), 0.0) + side
        return torch.tensor([[count.get(id(c), 0.0) for c in group.group.completions] for group in groups])

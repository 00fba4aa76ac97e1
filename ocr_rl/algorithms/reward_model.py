"""Reward model: sample groups, pair their completions by the rules' rewards, train a head on the trunk to agree.

Bradley-Terry, as in Ziegler et al., 2019 (arXiv 1909.08593), with pairs chosen by verifiers instead of people.
Completions are sampled from a frozen copy of the initial policy, because training the trunk as a reward model spoils it
as a policy.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import torch

from ocr_rl import distributed
from ocr_rl.config.schema import Recipe
from ocr_rl.models.heads import ScalarHead
from ocr_rl.models.page_reader import PageReader
from ocr_rl.models.policy import Policy
from ocr_rl.models.reward_model import HEAD, RewardModel, padded
from ocr_rl.objectives.preference_losses import reward_model_loss
from ocr_rl.rewards.preferences import Choose, Pair, pairs_of_groups
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.rollouts.engine import Engine, Sampling
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.seeds import derive
from ocr_rl.training.base import StepResult, Trainer, TrainerState
from ocr_rl.training.optimizer import clipped_step, make_optimizer
from ocr_rl.training.rollout_batches import Rollouts
from ocr_rl.training.rollout_metrics import rollout_metrics
from ocr_rl.training.shared_rollout import roll_out
from ocr_rl.types import Page


class RewardModelTrainer(Trainer):
    """Learns pairs of completions sampled by `engine` and scored by `scorer`; measured on pairs of `held_out`."""

    def __init__(
        self,
        policy: Policy,
        engine: Engine,
        pages: Sequence[Page],
        held_out: Sequence[Page],
        scorer: GroupScorer,
        recipe: Recipe,
    ) -> None:
        self.engine, self.scorer, self.recipe, self.held_out = engine, scorer, recipe, held_out
        self.learner = RewardModelLearner(policy, recipe)
        self.optimizer, self.state = self.learner.optimizer, self.learner.state
        self.rollouts = Rollouts(policy.frozen_copy(), engine, pages, scorer, recipe)
        self._held_out_pairs: list[Pair] | None = None

    def start(self, done: int) -> None:
        self.rollouts.start(int(self.state.numbers.get("batches", done)))

    def step(self, step: int, rate: float) -> StepResult:
        batch = self.rollouts.take(step)
        began = time.monotonic()
        metrics = self.learner.update(self.learner.pairs(batch.groups), rate)
        self.state.numbers["batches"] = batch.drawn
        return StepResult(metrics | rollout_metrics(batch, learn_s=time.monotonic() - began))

    def dry_run(self, scored: Sequence[ScoredGroup]) -> None:
        self.learner.accumulate(self.learner.pairs(scored))

    def measure(self) -> dict[str, float | None]:
        """Agreement with the rules on pairs of held-out pages, the same pairs each time."""
        if self._held_out_pairs is None:
            rollout, seed = self.recipe.rollout, self.recipe.train.seed
            sampling = Sampling(rollout.group_size, rollout.temperature, rollout.max_tokens)
            self.sync_engine()
            groups = roll_out(self.scorer, self.engine, self.held_out, sampling, derive(seed, "held-out")).groups
            self._held_out_pairs = self.learner.pairs(groups)
        return self.learner.agreement(self._held_out_pairs)

    def save(self, folder: Path) -> None:
        self.learner.model.head.save(folder / HEAD)

    def sync_engine(self) -> None:
        self.rollouts.sync_engine()

    def close(self) -> None:
        self.rollouts.close()


class RewardModelLearner:
    """The update: pairs in, weights of trunk and head changed in place, metrics out. A backward pass holds one pair."""

    def __init__(self, policy: Policy, recipe: Recipe) -> None:
        own = recipe.reward_model
        self.recipe = recipe
        self.model = RewardModel(policy, ScalarHead(policy.hidden_size, own.width, derive(recipe.train.seed, "head")))
        self.state = TrainerState({"reward_head": self.model.head})
        head = list(self.model.head.parameters())
        self.optimizer = make_optimizer(policy.trainable_parameters(), recipe.train)
        self.optimizer.add_param_group({"params": head, "rate_factor": own.rate})
        self.parameters = policy.trainable_parameters() + head

    def pairs(self, groups: Sequence[ScoredGroup]) -> list[Pair]:
        own = self.recipe.reward_model
        choose: Choose = "best-worst" if own.pairs_per_page == 1 else "margin"
        return pairs_of_groups(groups, choose, own.margin, own.pairs_per_page)

    def update(self, pairs: Sequence[Pair], rate: float) -> dict[str, float | None]:
        """One optimiser step on all pairs; without pairs no weight changes."""
        loss, margins = self.accumulate(pairs)
        norm = clipped_step(self.optimizer, self.parameters, rate, self.recipe.train.max_grad_norm)
        return {"loss": loss, **_pair_metrics(margins), "grad_norm": norm, "lr": rate}

    def accumulate(self, pairs: Sequence[Pair]) -> tuple[float, list[float]]:
        """Add up the gradient of the mean loss. Returns that loss and R_w - R_l of each pair."""
        total, margins = 0.0, []
        for page, own in _own_pages(pairs):
            reading = PageReader(self.model.policy, self.model.policy.prompt(page), grad=True)
            for pair in own:
                chosen, rejected = self._scores(reading, pair)
                loss = reward_model_loss(chosen, rejected, centring=self.recipe.reward_model.centring) / len(pairs)
                loss.backward()  # type: ignore[no-untyped-call]
                total += loss.item()
                margins.append((chosen - rejected).item())
            reading.backward()
        return sum(distributed.gather([total])), distributed.gather(margins)

    @torch.no_grad()
    def agreement(self, pairs: Sequence[Pair]) -> dict[str, float | None]:
        """How often the scores rank the pairs as the rules do, and by how much."""
        margins = []
        for page, own in _own_pages(pairs):
            reading = PageReader(self.model.policy, self.model.policy.prompt(page))
            for pair in own:
                chosen, rejected = self._scores(reading, pair)
                margins.append((chosen - rejected).item())
        return _pair_metrics(distributed.gather(margins))

    def _scores(self, reading: PageReader, pair: Pair) -> tuple[torch.Tensor, torch.Tensor]:
        ids, mask = padded([pair.chosen, pair.rejected], self.model.policy.pad_id)
        chosen, rejected = self.model.scores(reading.hidden(ids), mask)
        return chosen, rejected


def _own_pages(pairs: Sequence[Pair]) -> list[tuple[Page, list[Pair]]]:
    """This process's share of the pages, each with its pairs."""
    return distributed.mine([(page, list(own)) for page, own in groupby(pairs, key=lambda pair: pair.page)])


def _pair_metrics(margins: Sequence[float]) -> dict[str, float | None]:
    """Ties do not count as agreement."""
    count = len(margins)
    return {
        "pairs": count,
        "pair_accuracy": sum(margin > 0 for margin in margins) / count if count else None,
        "score_margin": sum(margins) / count if count else None,
    }

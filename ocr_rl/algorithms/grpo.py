"""GRPO and its family: sample groups, score them, compare siblings, update.

Group Relative Policy Optimization (DeepSeekMath, arXiv 2402.03300). What it is not: it has no critic, no KL term
unless beta > 0, and it never trains on a group whose completions all score the same. DAPO, Dr. GRPO, GSPO, CISPO, GDPO,
RLOO and REINFORCE are choices in [grpo]; `ocr_rl.objectives.policy_losses.grpo_loss` says which.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add

import torch
from torch import Tensor

from ocr_rl import distributed
from ocr_rl.config.schema import GrpoConfig, Recipe
from ocr_rl.models.page_reader import PageReader
from ocr_rl.models.policy import Policy
from ocr_rl.models.reference import Reference
from ocr_rl.objectives.advantages import (
    GroupAdvantages,
    batch_advantages,
    decoupled_advantages,
    group_advantages,
    leave_one_out_advantages,
)
from ocr_rl.objectives.masking import masked_sum
from ocr_rl.objectives.off_policy import MismatchSums, mismatch_metrics, mismatch_sums, sampling_weights
from ocr_rl.objectives.policy_losses import StepCounts, clip_fraction, grpo_loss, kl_estimate
from ocr_rl.rewards.reward_function import ScoredGroup, gated_parts
from ocr_rl.rollouts.engine import Engine
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.training.base import StepResult, Trainer, TrainerState
from ocr_rl.training.micro_batches import MicroBatch, PageTask, by_update, cut, reference_logprobs
from ocr_rl.training.optimizer import clipped_step, make_optimizer
from ocr_rl.training.rollout_batches import Rollouts
from ocr_rl.training.rollout_metrics import rollout_metrics, rollout_rows
from ocr_rl.types import Page


class GrpoTrainer(Trainer):
    """Groups sampled by `engine`, scored by `scorer`, learned from once they are all there."""

    def __init__(
        self, policy: Policy, engine: Engine, pages: Sequence[Page], scorer: GroupScorer, recipe: Recipe
    ) -> None:
        grpo = recipe.grpo
        self.recipe = recipe
        self.learner = GrpoLearner(policy, recipe)
        self.optimizer, self.state = self.learner.optimizer, self.learner.state
        keep = partial(has_spread, least=grpo.min_group_std) if grpo.refill else None
        self.rollouts = Rollouts(policy, engine, pages, scorer, recipe, keep, grpo.refill)

    def start(self, done: int) -> None:
        self.rollouts.start(int(self.state.numbers.get("batches", done)))

    def step(self, step: int, rate: float) -> StepResult:
        grpo = self.recipe.grpo
        batch = self.rollouts.take(step)
        self.state.numbers["batches"] = batch.drawn
        began = time.monotonic()
        penalties = self.learner.kl_penalties(batch.groups) if grpo.beta and grpo.kl_in == "reward" else None
        advantages, spread = advantages_of(batch.groups, grpo, self.recipe.reward.weights, penalties)
        metrics = self.learner.update(batch.groups, advantages, spread, rate)
        if grpo.reference_every and step % grpo.reference_every == 0:
            self.learner.renew_reference()
        metrics["zero_advantage_fraction"] = 1 - spread.float().mean().item()
        metrics |= rollout_metrics(batch, learn_s=time.monotonic() - began)
        return StepResult(metrics, rollout_rows(batch.groups, advantages))

    def sync_engine(self) -> None:
        self.rollouts.sync_engine()

    def close(self) -> None:
        self.rollouts.close()


def has_spread(group: ScoredGroup, least: float) -> bool:
    """Whether its rewards differ enough to learn from."""
    return torch.tensor(group.rewards).std().item() >= least


def advantages_of(
    scored: Sequence[ScoredGroup],
    config: GrpoConfig,
    weights: Mapping[str, float] | None = None,
    penalties: Tensor | None = None,
) -> GroupAdvantages:
    """(P, G) advantages and (P,) whether the group has spread.

    Args:
        weights: of the parts of the reward, for the decoupled ones.
        penalties: (P, G), taken from the rewards first.
    """
    if config.advantage == "decoupled":
        assert weights is not None
        assert penalties is None
        parts = torch.tensor([[gated_parts(score, weights) for score in group.scores] for group in scored])
        return decoupled_advantages(parts, torch.tensor(list(weights.values())), min_group_std=config.min_group_std)
    rewards = torch.tensor([group.rewards for group in scored])
    if penalties is not None:
        rewards = rewards - penalties
    if config.advantage == "leave_one_out":
        return leave_one_out_advantages(rewards)
    if config.advantage == "batch":
        return batch_advantages(rewards)
    return group_advantages(rewards, divide_by_std=config.divide_by_std, min_group_std=config.min_group_std)


@dataclass(frozen=True)
class GroupBatch(MicroBatch):
    """advantages (B,), on the CPU like the others."""

    advantages: Tensor
    old_logprobs: Tensor | None = None


def micro_batches(
    group: ScoredGroup, advantages: Tensor, config: GrpoConfig, pad_id: int, most: int
) -> list[GroupBatch]:
    """The group's completions sorted by length, cut so that none holds more than `most` padded tokens."""
    trained = torch.tensor([c.finished or not config.mask_truncated for c in group.group.completions])
    return [
        GroupBatch(
            batch.rows,
            batch.ids,
            batch.mask & trained[batch.rows, None],
            batch.sampling_logprobs,
            advantages[batch.rows],
        )
        for batch in cut(group.group.completions, pad_id, most)
    ]


class GrpoLearner:
    """The update: scored groups in, weights changed in place, metrics out."""

    def __init__(self, policy: Policy, recipe: Recipe) -> None:
        self.policy, self.recipe = policy, recipe
        self.parameters = policy.trainable_parameters()
        self.optimizer = make_optimizer(self.parameters, recipe.train)
        self.reference = Reference(policy) if recipe.grpo.beta > 0 else None
        moves = self.reference if recipe.grpo.reference_every else None
        self.state = TrainerState(frozen={} if moves is None else {"reference": moves.weights})
        self.beta = recipe.grpo.beta if recipe.grpo.kl_in == "loss" else 0.0
        """Of the KL term in the loss."""
        self.sums = torch.zeros(5, device=policy.device)
        self.mismatch: list[MismatchSums] = []

    def update(
        self, scored: Sequence[ScoredGroup], advantages: Tensor, spread: Tensor, rate: float
    ) -> dict[str, float | None]:
        """mu epochs over the batch, each cut into grpo.updates_per_batch optimiser steps.

        Groups without spread are skipped, but their completions still count in the loss's denominators: skipping
        saves time and changes nothing. Under a KL term they have a gradient and are kept.
        """
        grpo, train = self.recipe.grpo, self.recipe.train
        tasks = self.prepare(scored, advantages, spread)
        if grpo.inner_epochs * grpo.updates_per_batch > 1:
            tasks = [self._with_old_logprobs(task) for task in tasks]
        self.sums.zero_()
        self.mismatch.clear()
        norm = 0.0
        for _ in range(grpo.inner_epochs):
            for part in range(grpo.updates_per_batch):
                mine = slice(part, None, grpo.updates_per_batch)
                self.accumulate(scored[mine], tasks[mine])
                norm = clipped_step(self.optimizer, self.parameters, rate, train.max_grad_norm)
        distributed.sum_over(self.sums)
        mismatch = distributed.gather([_on_cpu(reduce(add, self.mismatch))] if self.mismatch else [])
        loss, kl, entropy, clipped, tokens = self.sums.tolist()
        return {
            "loss": loss / (grpo.inner_epochs * grpo.updates_per_batch),
            "kl": kl / max(tokens, 1) if grpo.beta else None,
            "clip_fraction": clipped / max(tokens, 1),
            "entropy": entropy / max(tokens, 1),
            "grad_norm": norm,
            "lr": rate,
            **(mismatch_metrics(reduce(add, mismatch)) if mismatch else {}),
        }

    def prepare(
        self, scored: Sequence[ScoredGroup], advantages: Tensor, spread: Tensor
    ) -> list[PageTask[GroupBatch] | None]:
        """What each page has to learn; None for a page without, and for one of another process."""
        grpo, most = self.recipe.grpo, self.recipe.train.micro_batch_tokens
        order = by_update(len(scored), grpo.updates_per_batch)
        mine = distributed.mine([i for i in order if spread[i] or self.beta])
        return [
            PageTask(
                self.policy.prompt(scored[i].group.page),
                micro_batches(scored[i], advantages[i], grpo, self.policy.pad_id, most),
            )
            if i in mine
            else None
            for i in range(len(scored))
        ]

    def accumulate(self, scored: Sequence[ScoredGroup], tasks: Sequence[PageTask[GroupBatch] | None]) -> None:
        """Add up the gradient of one optimiser step over these groups."""
        completions = [c for group in scored for c in group.group.completions]
        trained = [c for c in completions if c.finished or not self.recipe.grpo.mask_truncated]
        counts = StepCounts(sum(len(c.token_ids) for c in trained), len(completions), self.recipe.rollout.max_tokens)
        for task in tasks:
            if task is not None:
                self._backward(task, counts)

    def _backward(self, task: PageTask[GroupBatch], counts: StepCounts) -> None:
        """Add the gradient of one page's completions, the page read once for all of them."""
        policy, grpo, rollout, device = self.policy, self.recipe.grpo, self.recipe.rollout, self.policy.device
        refs: Sequence[Tensor | None] = [None] * len(task.batches)
        if self.reference is not None:
            refs = reference_logprobs(self.reference, task.prompt, task.batches, rollout.temperature)
        reading = PageReader(policy, task.prompt, grad=True)
        for batch, ref in zip(task.batches, refs, strict=True):
            scores = reading.score(batch.ids, batch.mask, rollout.temperature)
            mask, advantages = batch.mask.to(device), batch.advantages.to(device)
            old = batch.old_logprobs.to(device) if batch.old_logprobs is not None else scores.logprobs.detach()
            sampling = batch.sampling_logprobs.to(device)
            weights = sampling_weights(old, sampling, mask, rollout.correction, rollout.correction_cap)
            loss = grpo_loss(
                scores.logprobs,
                old,
                advantages,
                mask,
                counts,
                ref_logprobs=ref,
                weights=weights,
                surrogate=grpo.surrogate,
                clip_low=grpo.clip_low,
                clip_high=grpo.clip_high,
                normalizer=grpo.normalizer,
                ratio=grpo.ratio,
                beta=self.beta,
                kl=grpo.kl,
            )
            loss.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                tokens = mask.sum()
                clipped = clip_fraction(
                    scores.logprobs,
                    old,
                    advantages,
                    mask,
                    clip_low=grpo.clip_low,
                    clip_high=grpo.clip_high,
                    ratio=grpo.ratio,
                )
                kl = masked_sum(kl_estimate(scores.logprobs, ref, grpo.kl), mask) if ref is not None else tokens * 0.0
                entropy = masked_sum(scores.entropy, mask)
                self.sums += torch.stack([loss.detach(), kl, entropy, clipped * tokens, tokens.float()])
                self.mismatch.append(mismatch_sums(old, sampling, mask, weights))
        reading.backward()

    def kl_penalties(self, scored: Sequence[ScoredGroup]) -> Tensor:
        """beta times the estimated KL of each completion to the reference, (P, G)."""
        assert self.reference is not None
        grpo, policy, temperature = self.recipe.grpo, self.policy, self.recipe.rollout.temperature
        penalties = torch.zeros(len(scored), len(scored[0].rewards))
        for i, group in distributed.mine(list(enumerate(scored))):
            prompt = policy.prompt(group.group.page)
            batches = cut(group.group.completions, policy.pad_id, self.recipe.train.micro_batch_tokens)
            refs = reference_logprobs(self.reference, prompt, batches, temperature)
            with torch.no_grad():
                reading = PageReader(policy, prompt)
                for batch, ref in zip(batches, refs, strict=True):
                    own = reading.score(batch.ids, batch.mask, temperature).logprobs
                    kl = torch.where(batch.mask.to(policy.device), kl_estimate(own, ref, grpo.kl), 0.0)
                    penalties[i, list(batch.rows)] = grpo.beta * kl.sum(1).cpu()
        distributed.sum_over(penalties)
        return penalties

    def renew_reference(self) -> None:
        assert self.reference is not None
        self.reference.renew()

    @torch.no_grad()
    def _with_old_logprobs(self, task: PageTask[GroupBatch] | None) -> PageTask[GroupBatch] | None:
        """With the sampling policy's logprobs, taken before the first step changes it."""
        if task is None:
            return None
        reading, temperature = PageReader(self.policy, task.prompt), self.recipe.rollout.temperature
        old = [reading.score(batch.ids, batch.mask, temperature).logprobs.cpu() for batch in task.batches]
        return replace(task, batches=[replace(b, old_logprobs=o) for b, o in zip(task.batches, old, strict=True)])


def _on_cpu(sums: MismatchSums) -> MismatchSums:
    return MismatchSums(**{name: value.cpu() for name, value in vars(sums).items()})

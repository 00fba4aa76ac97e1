"""GRPO and its family: sample groups, score them, compare siblings, update.

Group Relative Policy Optimization (DeepSeekMath, arXiv 2402.03300). What this is not: there is no critic, no KL term
unless beta > 0, and no training on a group whose completions all have the same reward. DAPO, Dr. GRPO, GSPO, CISPO,
GDPO, RLOO and REINFORCE are settings in [grpo]; `ocr_rl.objectives.policy_losses.grpo_loss` lists them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add
from typing import NamedTuple

import torch
from torch import Tensor

from ocr_rl import distributed
from ocr_rl.config.schema import GrpoConfig, Recipe
from ocr_rl.models.page_reader import PageReader
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import Prompt
from ocr_rl.models.reference import Reference
from ocr_rl.objectives.advantages import GroupAdvantages, reward_to_go_advantages
from ocr_rl.objectives.masking import masked_sum
from ocr_rl.objectives.off_policy import MismatchSums, mismatch_metrics, mismatch_sums, sampling_weights
from ocr_rl.objectives.policy_losses import StepCounts, clip_fraction, grpo_loss, kl_estimate
from ocr_rl.objectives.returns import kl_penalised_rewards, token_rewards
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup, make_rubric
from ocr_rl.rollouts.engine import Engine
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.training.base import StepResult, Trainer, TrainerState
from ocr_rl.training.group_advantages import advantages_of, credited_advantages
from ocr_rl.training.micro_batches import MicroBatch, PageTask, by_update, common_prefix, cut, reference_logprobs
from ocr_rl.training.optimizer import clipped_step, make_optimizer
from ocr_rl.training.references import References
from ocr_rl.training.rollout_batches import Rollouts
from ocr_rl.training.rollout_metrics import rollout_metrics, rollout_rows
from ocr_rl.types import Page


class GrpoTrainer(Trainer):
    """Learns groups sampled by `engine` and scored by `scorer`, once the whole batch is there."""

    def __init__(
        self, policy: Policy, engine: Engine, pages: Sequence[Page], scorer: GroupScorer, recipe: Recipe
    ) -> None:
        grpo = recipe.grpo
        self.recipe, self.scorer = recipe, scorer
        self.learner = GrpoLearner(policy, recipe)
        self.references = None
        if grpo.reference_in_group:
            self.references = References(policy, pages, scorer.reward_function, recipe.rollout.max_tokens)
        self.optimizer, self.state = self.learner.optimizer, self.learner.state
        keep = partial(has_spread, min_std=grpo.min_group_std) if grpo.refill else None
        self.rollouts = Rollouts(policy, engine, pages, scorer, recipe, keep, grpo.refill)

    def start(self, done: int) -> None:
        self.rollouts.start(int(self.state.numbers.get("batches", done)))

    def step(self, step: int, rate: float) -> StepResult:
        grpo = self.recipe.grpo
        batch = self.rollouts.take(step)
        self.state.numbers["batches"] = batch.drawn
        began = time.monotonic()
        groups = self.with_references(batch.groups)
        (advantages, spread), by_page = self.learner.advantages(groups, self.scorer.reward_function)
        metrics = self.learner.update(groups, by_page, spread, rate)
        if grpo.reference_every and step % grpo.reference_every == 0:
            self.learner.renew_reference()
        metrics["zero_advantage_fraction"] = 1 - spread.float().mean().item()
        metrics |= rollout_metrics(batch, learn_s=time.monotonic() - began)
        return StepResult(metrics, rollout_rows(batch.groups, advantages[:, : self.recipe.rollout.group_size]))

    def dry_run(self, scored: Sequence[ScoredGroup]) -> None:
        scored = self.with_references(scored)
        _, by_page = self.learner.advantages(scored, self.scorer.reward_function)
        every = torch.ones(len(scored), dtype=torch.bool)
        self.learner.accumulate(scored, self.learner.prepare(scored, by_page, every))

    def with_references(self, scored: Sequence[ScoredGroup]) -> Sequence[ScoredGroup]:
        """The groups as they are learned from: with grpo.reference_in_group, each has its page's text at the end."""
        return scored if self.references is None else [self.references.joined(group) for group in scored]

    def sync_engine(self) -> None:
        self.rollouts.sync_engine()

    def close(self) -> None:
        self.rollouts.close()


def has_spread(group: ScoredGroup, min_std: float) -> bool:
    """Whether its rewards differ enough to learn from."""
    return torch.tensor(group.rewards).std().item() >= min_std


class PenalisedRewards(NamedTuple):
    """Rewards of a page's G completions with the KL penalty in them, on the CPU."""

    total: Tensor
    """(G,)."""
    by_token: Tensor
    """(G, T), 0 at pads; they add up to the total."""
    mask: Tensor
    """(G, T)."""


@dataclass(frozen=True)
class GrpoMicroBatch(MicroBatch):
    """With advantages (B,), or (B, T) where each token has its own; on the CPU like the rest."""

    advantages: Tensor
    old_logprobs: Tensor | None = None


def micro_batches(
    group: ScoredGroup, advantages: Tensor, config: GrpoConfig, pad_id: int, max_tokens: int
) -> list[GrpoMicroBatch]:
    """The group's completions sorted by length, in micro-batches of at most `max_tokens` padded tokens.

    Args:
        advantages: (G,), or (G, T) where each token has its own.
    """
    trained = torch.tensor([c.finished or not config.mask_truncated for c in group.group.completions])
    first = first_trained(group, config)
    return [
        GrpoMicroBatch(
            batch.rows,
            batch.ids,
            batch.mask & trained[batch.rows, None] & (torch.arange(batch.mask.shape[1]) >= first),
            batch.sampling_logprobs,
            advantages[batch.rows] if advantages.ndim == 1 else advantages[batch.rows, : batch.ids.shape[1]],
        )
        for batch in cut(group.group.completions, pad_id, max_tokens)
    ]


def first_trained(group: ScoredGroup, config: GrpoConfig) -> int:
    """The place of the first token that is trained on, the same for all completions of a page."""
    return common_prefix(group.group.completions) if config.mask_common_prefix else 0


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
        """Weight of the KL term in the loss."""
        self.sums = torch.zeros(5, device=policy.device)
        self.mismatch: list[MismatchSums] = []

    def advantages(
        self, scored: Sequence[ScoredGroup], reward_function: RewardFunction | None = None
    ) -> tuple[GroupAdvantages, Sequence[Tensor]]:
        """Those of the completions, and those that each page is trained with: the same, (G,), or by token, (G, T)."""
        grpo, weights = self.recipe.grpo, make_rubric(self.recipe.reward).weights
        if grpo.credit == "alignment":
            assert reward_function is not None
            return credited_advantages(scored, grpo, reward_function, self.policy.pieces)
        if not (grpo.beta and grpo.kl_in == "reward"):
            found = advantages_of(scored, grpo, weights)
            return found, found.advantages.unbind()
        penalised = self.penalised_rewards(scored)
        found = advantages_of(scored, grpo, weights, torch.stack([page.total for page in penalised]))
        if grpo.returns == "total":
            return found, found.advantages.unbind()
        pages = zip(found.advantages, penalised, strict=True)
        return found, [reward_to_go_advantages(own, page.by_token, page.mask) for own, page in pages]

    def update(
        self, scored: Sequence[ScoredGroup], advantages: Sequence[Tensor] | Tensor, spread: Tensor, rate: float
    ) -> dict[str, float | None]:
        """mu passes over the batch, each divided into grpo.updates_per_batch optimiser steps.

        Groups without spread are skipped, but their completions still count in the loss's denominators: skipping
        saves time and changes nothing. With a KL term in the loss they have a gradient and are kept.

        Args:
            advantages: of each page, (G,), or (G, T) where each token has its own.
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
        self, scored: Sequence[ScoredGroup], advantages: Sequence[Tensor] | Tensor, spread: Tensor
    ) -> list[PageTask[GrpoMicroBatch]]:
        """What to learn from each page; nothing from a page that is skipped or belongs to another process."""
        grpo, max_tokens = self.recipe.grpo, self.recipe.train.micro_batch_tokens
        order = by_update(len(scored), grpo.updates_per_batch)
        mine = distributed.mine([i for i in order if spread[i] or self.beta])
        return [
            PageTask(
                self.policy.prompt(scored[i].group.page),
                micro_batches(scored[i], advantages[i], grpo, self.policy.pad_id, max_tokens),
            )
            if i in mine
            else PageTask(None, [])
            for i in range(len(scored))
        ]

    def accumulate(self, scored: Sequence[ScoredGroup], tasks: Sequence[PageTask[GrpoMicroBatch]]) -> None:
        """Add up the gradient of one optimiser step on these groups."""
        grpo, completions = self.recipe.grpo, [c for group in scored for c in group.group.completions]
        trained = [
            len(c.token_ids) - first_trained(group, grpo)
            for group in scored
            for c in group.group.completions
            if c.finished or not grpo.mask_truncated
        ]
        counts = StepCounts(sum(trained), len(completions), self.recipe.rollout.max_tokens)
        for task in tasks:
            if task.prompt is not None:
                self._backward(task.prompt, task.batches, counts)

    def _backward(self, prompt: Prompt, batches: Sequence[GrpoMicroBatch], counts: StepCounts) -> None:
        """Add the gradient of one page's completions. The page is read once for all of them."""
        policy, grpo, rollout, device = self.policy, self.recipe.grpo, self.recipe.rollout, self.policy.device
        refs: Sequence[Tensor | None] = [None] * len(batches)
        if self.reference is not None:
            refs = reference_logprobs(self.reference, prompt, batches, rollout.temperature)
        reading = PageReader(policy, prompt, grad=True)
        for batch, ref in zip(batches, refs, strict=True):
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

    def penalised_rewards(self, scored: Sequence[ScoredGroup]) -> list[PenalisedRewards]:
        """Each page's rewards, less beta times the estimated KL to the reference."""
        return distributed.gather([self._penalised_rewards(group) for group in distributed.mine(scored)])

    @torch.no_grad()
    def _penalised_rewards(self, group: ScoredGroup) -> PenalisedRewards:
        assert self.reference is not None
        grpo, policy, temperature = self.recipe.grpo, self.policy, self.recipe.rollout.temperature
        completions, rewards = group.group.completions, torch.tensor(group.rewards)
        lengths = torch.tensor([len(completion.token_ids) for completion in completions])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        total, by_token = torch.zeros(len(completions)), torch.zeros(mask.shape)
        prompt = policy.prompt(group.group.page)
        batches = cut(completions, policy.pad_id, self.recipe.train.micro_batch_tokens)
        refs = reference_logprobs(self.reference, prompt, batches, temperature)
        reading = PageReader(policy, prompt)
        for batch, ref in zip(batches, refs, strict=True):
            logprobs = reading.score(batch.ids, batch.mask, temperature).logprobs
            kl, own = kl_estimate(logprobs, ref, grpo.kl).cpu(), rewards[batch.rows]
            total[batch.rows] = kl_penalised_rewards(own, kl, batch.mask, grpo.beta)
            by_token[batch.rows, : kl.shape[1]] = token_rewards(own, kl, batch.mask, grpo.beta)
        return PenalisedRewards(total, by_token, mask)

    def renew_reference(self) -> None:
        """Make the policy as it is now the reference."""
        assert self.reference is not None
        self.reference.renew()

    @torch.no_grad()
    def _with_old_logprobs(self, task: PageTask[GrpoMicroBatch]) -> PageTask[GrpoMicroBatch]:
        """With the sampling policy's log probabilities, computed before the first step changes it."""
        if task.prompt is None:
            return task
        reading, temperature = PageReader(self.policy, task.prompt), self.recipe.rollout.temperature
        old = [reading.score(batch.ids, batch.mask, temperature).logprobs.cpu() for batch in task.batches]
        return replace(task, batches=[replace(b, old_logprobs=o) for b, o in zip(task.batches, old, strict=True)])


def _on_cpu(sums: MismatchSums) -> MismatchSums:
    return MismatchSums(**{name: value.cpu() for name, value in vars(sums).items()})

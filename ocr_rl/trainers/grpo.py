"""GRPO: sample groups, score them, compare siblings, update.

Group Relative Policy Optimization (DeepSeekMath, arXiv 2402.03300). What it is not: it has no critic, no reward
model, no KL term unless beta > 0, and it never trains on a group whose completions all score the same.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import torch
from torch import Tensor

from ocr_rl.advantages import group_advantages
from ocr_rl.config import GrpoConfig, Recipe
from ocr_rl.losses import StepCounts, clip_fraction, grpo_loss, kl_estimate
from ocr_rl.mismatch import MismatchSums, mismatch_metrics, mismatch_sums, sampling_weights
from ocr_rl.policy import Policy, Prompt, PromptState, TokenScores
from ocr_rl.rewards import ScoredGroup
from ocr_rl.rollout import Engine
from ocr_rl.scoring_pool import Scorer
from ocr_rl.tensors import masked_sum, pad_rows
from ocr_rl.trainers.loop import Method, StepResult, guarded_step, make_optimizer
from ocr_rl.trainers.rollouts import Rollouts, rollout_metrics, rollout_rows
from ocr_rl.types import Page


class Grpo(Method):
    """Groups sampled by `engine`, scored by `scorer`, learned from once they are all there."""

    def __init__(self, policy: Policy, engine: Engine, pages: Sequence[Page], scorer: Scorer, recipe: Recipe) -> None:
        self.recipe = recipe
        self.learner = Learner(policy, recipe)
        self.optimizer = self.learner.optimizer
        self.rollouts = Rollouts(policy, engine, pages, scorer, recipe)

    def start(self, done: int) -> None:
        self.rollouts.start(done)

    def step(self, step: int, rate: float) -> StepResult:
        batch = self.rollouts.take(step)
        began = time.monotonic()
        advantages, spread = advantages_of(batch.groups, self.recipe.grpo)
        metrics = self.learner.update(batch.groups, advantages, spread, rate)
        metrics["zero_advantage_fraction"] = 1 - spread.float().mean().item()
        metrics |= rollout_metrics(batch, learn_s=time.monotonic() - began)
        return StepResult(metrics, rollout_rows(batch.groups, advantages))

    def settle(self) -> None:
        self.rollouts.settle()

    def close(self) -> None:
        self.rollouts.close()


def advantages_of(scored: Sequence[ScoredGroup], config: GrpoConfig) -> tuple[Tensor, Tensor]:
    """(P, G) advantages and (P,) whether the group has spread."""
    rewards = torch.tensor([group.rewards for group in scored])
    return group_advantages(rewards, divide_by_std=config.divide_by_std, min_group_std=config.min_group_std)


@dataclass(frozen=True)
class MicroBatch:
    """Completions of one page, similar in length. advantages (B,), the others (B, T); on the CPU."""

    ids: Tensor
    mask: Tensor
    advantages: Tensor
    sampling_logprobs: Tensor
    old_logprobs: Tensor | None = None


@dataclass(frozen=True)
class PageTask:
    """What one page has to learn from its completions."""

    prompt: Prompt
    batches: Sequence[MicroBatch]


def micro_batches(
    group: ScoredGroup, advantages: Tensor, config: GrpoConfig, pad_id: int, most: int
) -> list[MicroBatch]:
    """The group's completions sorted by length, cut so that none holds more than `most` padded tokens."""
    order = sorted(range(len(advantages)), key=lambda i: len(group.group.completions[i].token_ids))
    chunks: list[list[int]] = [[]]
    for i in order:
        width = len(group.group.completions[i].token_ids)
        if chunks[-1] and (len(chunks[-1]) + 1) * width > most:
            chunks.append([])
        chunks[-1].append(i)
    result = []
    for chunk in chunks:
        completions = [group.group.completions[i] for i in chunk]
        ids, mask = pad_rows([list(c.token_ids) for c in completions], pad_id)
        sampling = pad_rows([list(c.sampling_logprobs) for c in completions], 0.0)[0]
        if config.mask_truncated:
            mask &= torch.tensor([c.finished for c in completions])[:, None]
        result.append(MicroBatch(ids, mask, advantages[chunk], sampling))
    return result


class Learner:
    """The update: scored groups in, weights changed in place, metrics out."""

    def __init__(self, policy: Policy, recipe: Recipe) -> None:
        self.policy, self.recipe = policy, recipe
        self.parameters = policy.trainable_parameters()
        self.optimizer = make_optimizer(self.parameters, recipe.train)
        full = recipe.grpo.beta > 0 and policy.base is policy.model  # with LoRA the base model is the reference
        self.reference = policy.frozen_copy() if full else None
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
                norm = guarded_step(self.optimizer, self.parameters, rate, train.max_grad_norm)
        loss, kl, entropy, clipped, tokens = self.sums.tolist()
        return {
            "loss": loss / (grpo.inner_epochs * grpo.updates_per_batch),
            "kl": kl / max(tokens, 1) if grpo.beta else None,
            "clip_fraction": clipped / max(tokens, 1),
            "entropy": entropy / max(tokens, 1),
            "grad_norm": norm,
            "lr": rate,
            **(mismatch_metrics(reduce(add, self.mismatch)) if self.mismatch else {}),
        }

    def prepare(self, scored: Sequence[ScoredGroup], advantages: Tensor, spread: Tensor) -> list[PageTask | None]:
        """What each page has to learn; None for a page without."""
        grpo, most = self.recipe.grpo, self.recipe.train.micro_batch_tokens
        return [
            PageTask(
                self.policy.prompt(scored[i].group.page),
                micro_batches(scored[i], advantages[i], grpo, self.policy.pad_id, most),
            )
            if spread[i] or grpo.beta
            else None
            for i in range(len(scored))
        ]

    def accumulate(self, scored: Sequence[ScoredGroup], tasks: Sequence[PageTask | None]) -> None:
        """Add up the gradient of one optimiser step over these groups."""
        completions = [c for group in scored for c in group.group.completions]
        trained = [c for c in completions if c.finished or not self.recipe.grpo.mask_truncated]
        counts = StepCounts(sum(len(c.token_ids) for c in trained), len(completions), self.recipe.rollout.max_tokens)
        for task in tasks:
            if task is not None:
                self._backward(task, counts)

    def _backward(self, task: PageTask, counts: StepCounts) -> None:
        """Add the gradient of one page's completions, the page read once for all of them."""
        policy, grpo, rollout, device = self.policy, self.recipe.grpo, self.recipe.rollout, self.policy.device
        state = policy.read(task.prompt, grad=True) if policy.shares_prompt else None
        for batch in task.batches:
            scores = self._score(task.prompt, state, batch)
            mask, advantages = batch.mask.to(device), batch.advantages.to(device)
            old = batch.old_logprobs.to(device) if batch.old_logprobs is not None else scores.logprobs.detach()
            ref = self._reference_logprobs(task.prompt, batch) if grpo.beta else None
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
                clip_low=grpo.clip_low,
                clip_high=grpo.clip_high,
                normalizer=grpo.normalizer,
                ratio=grpo.ratio,
                beta=grpo.beta,
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
        if state is not None:
            state.backward()

    def _score(self, prompt: Prompt, state: PromptState | None, batch: MicroBatch) -> TokenScores:
        temperature = self.recipe.rollout.temperature
        if state is None:
            return self.policy.score_unshared(prompt, batch.ids, batch.mask, temperature)
        return self.policy.score(state, batch.ids, batch.mask, temperature)

    @torch.no_grad()
    def _with_old_logprobs(self, task: PageTask | None) -> PageTask | None:
        """With the sampling policy's logprobs, taken before the first step changes it."""
        if task is None:
            return None
        state = self.policy.read(task.prompt) if self.policy.shares_prompt else None
        old = [self._score(task.prompt, state, batch).logprobs.cpu() for batch in task.batches]
        return replace(task, batches=[replace(b, old_logprobs=o) for b, o in zip(task.batches, old, strict=True)])

    @torch.no_grad()
    def _reference_logprobs(self, prompt: Prompt, batch: MicroBatch) -> Tensor:
        temperature = self.recipe.rollout.temperature
        if self.reference is not None:
            return self.reference.score(self.reference.read(prompt), batch.ids, batch.mask, temperature).logprobs
        with self.policy.as_reference() as reference:
            return reference.score(reference.read(prompt), batch.ids, batch.mask, temperature).logprobs

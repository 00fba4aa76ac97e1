"""GRPO: sample groups, score them, compare siblings, update.

Group Relative Policy Optimization (DeepSeekMath, arXiv 2402.03300). What it is not: it has no critic, no reward
model, no KL term unless beta > 0, and it never trains on a group whose completions all score the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from ocr_rl.advantages import group_advantages
from ocr_rl.best_step import BestStep
from ocr_rl.config import GrpoConfig, Recipe, to_toml
from ocr_rl.losses import StepCounts, clip_fraction, grpo_loss, kl_estimate
from ocr_rl.policy import Policy, Prompt, PromptState, TokenScores
from ocr_rl.resume import Start
from ocr_rl.rewards import Rewarder, ScoredGroup
from ocr_rl.rollout import Engine, Sampling
from ocr_rl.run_folder import RunFolder
from ocr_rl.tensors import masked_sum, pad_rows
from ocr_rl.trainer_state import load_checkpoint, save_checkpoint
from ocr_rl.trainers.loop import (
    Log,
    TrainingStopped,
    epochs,
    guarded_step,
    learning_rate,
    make_optimizer,
    stop_after_step,
)
from ocr_rl.types import Page
from ocr_verifiers import Score, pool

Evaluate = Callable[[], Mapping[str, Any]]


def train_grpo(
    policy: Policy,
    engine: Engine,
    pages: Sequence[Page],
    rewarder: Rewarder,
    recipe: Recipe,
    run: RunFolder,
    evaluate: Evaluate,
    start: Start | None = None,
) -> None:
    """Train `policy` in place for recipe.train.steps rollout batches, logging to `run`.

    `evaluate` scores held-out pages; it is called every train.eval_every steps. A step that is the best so far by
    train.keep_best is saved at once. With `start`, go on from there as if the run had never stopped: `policy` is the
    one that the run began with, which a KL term refers to.

    Raises:
        TrainingStopped: a loss or gradient is not finite. The last checkpoint is from before that update.
    """
    train, grpo = recipe.train, recipe.grpo
    sampling = Sampling(recipe.rollout.group_size, recipe.rollout.temperature, recipe.rollout.max_tokens)
    learner = Learner(policy, recipe)
    done = start.step if start is not None else 0
    if start is not None:
        if start.checkpoint is not None:
            load_checkpoint(start.checkpoint, policy, learner.optimizer, pages, done)
            engine.sync(policy)
        run.rewind(done, to_toml(recipe))
    batches = islice(epochs(pages, grpo.pages_per_step, train.seed), done, None)
    best = BestStep(run, train.keep_best)
    saved = done

    def checkpoint(step: int) -> int:
        def save(folder: Path) -> None:
            save_checkpoint(folder, policy, learner.optimizer, recipe, pages, step)

        run.write_checkpoint(step, save, train.keep_checkpoints, spare=best.step)
        if step == best.step:
            best.publish()
        return step

    step = done
    with stop_after_step() as asked_to_stop, Log(run, train, done) as log:
        try:
            for step in range(done + 1, train.steps + 1):
                # all that is random follows from the seed and the step, so that a resumed run draws the same
                seed = train.seed * 1_000_003 + step
                torch.manual_seed(seed)
                permute = Random(f"permute:{seed}") if recipe.reward.permute else None
                clock = [time.monotonic()]
                groups = engine.generate(next(batches), sampling, seed)
                clock.append(time.monotonic())
                scored = rewarder.score_groups(groups, permute)
                clock.append(time.monotonic())
                advantages, spread = advantages_of(scored, grpo)
                metrics = learner.update(scored, advantages, spread, learning_rate(step, train))
                engine.sync(policy)
                clock.append(time.monotonic())

                metrics |= rollout_metrics(scored, spread, clock)
                run.write_rollouts(step, rollout_rows(scored, advantages))
                if train.eval_every and step % train.eval_every == 0:
                    metrics |= {f"eval/{name}": value for name, value in evaluate().items()}
                    metrics["time/evaluate"] = round(time.monotonic() - clock[-1], 3)
                log.step(step, metrics)
                if best.offer(step, metrics) or (train.checkpoint_every and step % train.checkpoint_every == 0):
                    saved = checkpoint(step)
                if asked_to_stop:
                    break
        except TrainingStopped as stop:
            if saved < step - 1:
                checkpoint(step - 1)
            raise TrainingStopped(f"step {step}: {stop}") from None
        except FloatingPointError as error:  # the step before broke the weights: they are not worth saving
            raise TrainingStopped(
                f"step {step}: {error}: the update of step {step - 1} broke the weights. "
                "Use a checkpoint from before it, if there is one, and try a lower train.learning_rate"
            ) from None
        if saved < step:
            checkpoint(step)


def advantages_of(scored: Sequence[ScoredGroup], config: GrpoConfig) -> tuple[Tensor, Tensor]:
    """(P, G) advantages and (P,) whether the group has spread."""
    rewards = torch.tensor([group.rewards for group in scored])
    return group_advantages(rewards, divide_by_std=config.divide_by_std, min_group_std=config.min_group_std)


@dataclass(frozen=True)
class MicroBatch:
    """Completions of one page, similar in length. ids, mask, old_logprobs (B, T); advantages (B,); on the CPU."""

    ids: Tensor
    mask: Tensor
    advantages: Tensor
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
        if config.mask_truncated:
            mask &= torch.tensor([c.finished for c in completions])[:, None]
        result.append(MicroBatch(ids, mask, advantages[chunk]))
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
        policy, grpo, device = self.policy, self.recipe.grpo, self.policy.device
        state = policy.read(task.prompt, grad=True) if policy.shares_prompt else None
        for batch in task.batches:
            scores = self._score(task.prompt, state, batch)
            mask, advantages = batch.mask.to(device), batch.advantages.to(device)
            old = batch.old_logprobs.to(device) if batch.old_logprobs is not None else scores.logprobs.detach()
            ref = self._reference_logprobs(task.prompt, batch) if grpo.beta else None
            loss = grpo_loss(
                scores.logprobs,
                old,
                advantages,
                mask,
                counts,
                ref_logprobs=ref,
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


def rollout_metrics(scored: Sequence[ScoredGroup], spread: Tensor, clock: Sequence[float]) -> dict[str, float | None]:
    """What the batch looked like before the update, and where its time went."""
    scores = [score for group in scored for score in group.scores]
    completions = [c for group in scored for c in group.group.completions]
    rewards = torch.tensor([group.rewards for group in scored])
    tokens = sum(len(c.token_ids) for c in completions)
    edits = [score.char_edits for score in scores if score.char_edits is not None]
    tests = sum(score.scored_tests for score in scores)
    generate, score, learn = (b - a for a, b in pairwise(clock))
    parts = {name for score_ in scores for name in score_.parts}
    means: dict[str, float | None] = {}
    for name in sorted(parts):
        values = [s.parts[name] for s in scores if name in s.parts]
        means[f"reward/{name}"] = sum(values) / len(values)
    return {
        "reward": rewards.mean().item(),
        "reward_std": rewards.std(dim=1).mean().item(),
        **means,
        "pass_rate": sum(s.passed for s in scores) / tests if tests else None,
        **_pass_rates(scores),
        "cer": pool(edits).error_rate if edits else None,
        "completion_length": tokens / len(completions),
        "truncated_fraction": sum(not c.finished for c in completions) / len(completions),
        "zero_advantage_fraction": 1 - spread.float().mean().item(),
        "tokens_per_s": tokens / (clock[-1] - clock[0]),
        "time/generate": round(generate, 3),
        "time/score": round(score, 3),
        "time/learn": round(learn, 3),
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

"""PPO: sample, score, ask a critic for the expected return at each token, update policy and critic.

Proximal Policy Optimization (arXiv 1707.06347), with the KL term of Ziegler et al., 2019 (arXiv 1909.08593). What this
is not: there is no entropy bonus; a pass is divided into updates by whole pages, the same in each pass; and a
completion that was cut off at the token limit counts as ended: the critic does not estimate the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from ocr_rl import distributed
from ocr_rl.config.schema import PpoConfig, Recipe
from ocr_rl.models.heads import ScalarHead
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.page_reader import PageReader
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import Prompt, TokenScores
from ocr_rl.models.reference import Reference
from ocr_rl.objectives.masking import masked_sum
from ocr_rl.objectives.off_policy import mismatch_metrics, mismatch_sums, sampling_weights
from ocr_rl.objectives.policy_losses import StepCounts, adapted_kl_coefficient, clip_fraction, grpo_loss, kl_estimate
from ocr_rl.objectives.returns import missing_end_penalty, token_advantages, token_rewards, whiten
from ocr_rl.objectives.value_losses import explained_variance, value_clip_fraction, value_loss
from ocr_rl.rewards.placed_parts import placed_parts, token_costs
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup
from ocr_rl.rollouts.engine import Engine
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.seeds import derive
from ocr_rl.training.base import StepResult, Trainer, TrainerState
from ocr_rl.training.micro_batches import MicroBatch, PageTask, by_update, cut, reference_logprobs
from ocr_rl.training.optimizer import add_weights, clipped_step, make_optimizer
from ocr_rl.training.rollout_batches import Rollouts
from ocr_rl.training.rollout_metrics import rollout_metrics, rollout_rows
from ocr_rl.types import Page


class PpoTrainer(Trainer):
    """Learns completions sampled by `engine` and scored by `scorer`, once the whole batch is there."""

    def __init__(
        self, policy: Policy, engine: Engine, pages: Sequence[Page], scorer: GroupScorer, recipe: Recipe
    ) -> None:
        self.learner = PpoLearner(policy, recipe, scorer.reward_function)
        self.optimizer, self.state = self.learner.optimizer, self.learner.state
        self.rollouts = Rollouts(policy, engine, pages, scorer, recipe)

    def start(self, done: int) -> None:
        self.rollouts.start(int(self.state.numbers.get("batches", done)))

    def step(self, step: int, rate: float) -> StepResult:
        batch = self.rollouts.take(step)
        began = time.monotonic()
        experience = self.learner.experience(batch.groups)
        critic_only = step <= self.learner.recipe.ppo.critic_warmup
        metrics = self.learner.update(experience, rate, critic_only=critic_only)
        metrics |= rollout_metrics(batch, learn_s=time.monotonic() - began)
        self.state.numbers["batches"] = batch.drawn
        return StepResult(metrics, rollout_rows(batch.groups, mean_advantages(experience)))

    def dry_run(self, scored: Sequence[ScoredGroup]) -> None:
        self.learner.accumulate(self.learner.experience(scored))

    def sync_engine(self) -> None:
        self.rollouts.sync_engine()

    def close(self) -> None:
        self.rollouts.close()


@dataclass(frozen=True)
class PpoMicroBatch(MicroBatch):
    """With what was computed before the first update, (B, T) on the CPU; no update changes it."""

    old_logprobs: Tensor
    ref_logprobs: Tensor | None
    """Of the initial policy, if there is a KL term."""
    old_values: Tensor
    advantages: Tensor
    returns: Tensor
    weights: Tensor
    """Importance weights that correct for the engine's sampling."""


Experience = list[PageTask[PpoMicroBatch]]
"""A rollout batch; the micro-batches of pages that other processes learn from are there too."""


def flatten_masked(experience: Experience, of: Callable[[PpoMicroBatch], Tensor]) -> Tensor:
    """The values at all tokens of the rollout batch, in one row (1, N)."""
    return torch.cat([of(batch)[batch.mask] for task in experience for batch in task.batches])[None]


def whiten_batch(experience: Experience) -> Experience:
    """With advantages of mean 0 and variance 1 over the rollout batch."""
    flat = flatten_masked(experience, lambda batch: batch.advantages)
    rest = whiten(flat, torch.ones_like(flat, dtype=torch.bool))[0]
    tasks = []
    for task in experience:
        batches = []
        for batch in task.batches:
            own, rest = rest.tensor_split([int(batch.mask.sum())])
            advantages = torch.zeros_like(batch.advantages).masked_scatter(batch.mask, own)
            batches.append(replace(batch, advantages=advantages))
        tasks.append(replace(task, batches=batches))
    return tasks


def mean_advantages(experience: Experience) -> Tensor:
    """(P, G): the mean over each completion's tokens."""
    rows = []
    for task in experience:
        row = torch.zeros(sum(len(batch.rows) for batch in task.batches))
        for batch in task.batches:
            row[list(batch.rows)] = batch.advantages.sum(1) / batch.mask.sum(1).clamp(min=1)
        rows.append(row)
    return torch.stack(rows)


class Critic:
    """V_t (B, T), the return expected before token t is chosen: a head on the states that predict the tokens."""

    def __init__(self, policy: Policy, config: PpoConfig, seed: int) -> None:
        self.policy, self.kind = policy, config.critic
        self.own = policy.copy() if config.critic == "separate" else None
        self.head = ScalarHead(policy.hidden_size, config.critic_width, seed).to(policy.device)
        self.modules: dict[str, nn.Module] = {"critic": self.head}
        if self.own is not None:
            self.modules["critic_trunk"] = self.own.backbone

    def reading(self, policy_reading: PageReader, *, grad: bool = False) -> PageReader:
        """The page as the critic's own trunk reads it; the policy's reading if they share the trunk."""
        return policy_reading if self.own is None else PageReader(self.own, policy_reading.prompt, grad=grad)

    def values(self, reading: PageReader, scores: TokenScores, batch: MicroBatch) -> Tensor:
        """V_t of a batch.

        Args:
            reading: from `reading`.
            scores: the policy's, of the same batch.
        """
        if self.own is not None:
            hidden = reading.hidden(batch.ids[:, :-1])
        else:
            hidden = scores.hidden.detach() if self.kind == "detached" else scores.hidden
        values: Tensor = self.head(hidden)
        return values


class PpoLearner:
    """The update: scored groups in, weights of policy and critic changed in place, metrics out."""

    def __init__(self, policy: Policy, recipe: Recipe, reward_function: RewardFunction | None = None) -> None:
        """`reward_function` scored the completions; for ppo.credit = alignment."""
        self.policy, self.recipe, self.reward_function = policy, recipe, reward_function
        self.critic = Critic(policy, recipe.ppo, derive(recipe.train.seed, "critic"))
        self.state = TrainerState(self.critic.modules, {"kl_coefficient": recipe.ppo.beta})
        own = list(self.state.trained().values())
        self.optimizer = make_optimizer(policy.trainable_parameters(), recipe.train)
        add_weights(self.optimizer, own, recipe.ppo.critic_rate)
        self.parameters = policy.trainable_parameters() + own
        self.reference = Reference(policy) if recipe.ppo.beta > 0 else None
        self.sums = torch.zeros(6, device=policy.device)

    @torch.no_grad()
    def experience(self, scored: Sequence[ScoredGroup]) -> Experience:
        """What policy, reference and critic compute for the completions before the first update."""
        order = by_update(len(scored), self.recipe.ppo.updates_per_batch)
        own = {i: self._score(scored[i]) for i in distributed.mine(order)}
        found = distributed.gather([task.batches for task in own.values()])
        others: dict[int, PageTask[PpoMicroBatch]] = {i: PageTask(None, b) for i, b in zip(order, found, strict=True)}
        experience = [(others | own)[i] for i in range(len(scored))]
        return whiten_batch(experience) if self.recipe.ppo.whiten else experience

    def _score(self, group: ScoredGroup) -> PageTask[PpoMicroBatch]:
        ppo, rollout, policy = self.recipe.ppo, self.recipe.rollout, self.policy
        completions = group.group.completions
        finished = torch.tensor([completion.finished for completion in completions])
        rewards = missing_end_penalty(torch.tensor(group.rewards), finished, ppo.missing_end_penalty)
        costs = self._token_costs(group)
        rewards -= costs.sum(1)
        prompt = policy.prompt(group.group.page)
        reading = PageReader(policy, prompt)
        critics = self.critic.reading(reading)
        plain = cut(completions, policy.pad_id, self.recipe.train.micro_batch_tokens)
        refs: Sequence[Tensor | None] = [None] * len(plain)
        if self.reference is not None:
            refs = [ref.cpu() for ref in reference_logprobs(self.reference, prompt, plain, rollout.temperature)]
        batches = []
        for batch, ref in zip(plain, refs, strict=True):
            scores = reading.score(batch.ids, batch.mask, rollout.temperature)
            logprobs, mask = scores.logprobs.cpu(), batch.mask
            values = torch.where(mask, self.critic.values(critics, scores, batch).cpu(), 0.0)
            kl = torch.zeros_like(logprobs) if ref is None else kl_estimate(logprobs, ref, ppo.kl)
            coefficient = self.state.numbers["kl_coefficient"] if ppo.kl_in == "reward" else 0.0
            by_token = token_rewards(rewards[batch.rows], kl, mask, coefficient)
            by_token += costs[batch.rows, : mask.shape[1]]
            advantages = token_advantages(
                by_token, values, mask, ppo.estimator, gamma=ppo.gamma, lam=ppo.lam, n=ppo.n_step
            )
            sampling = batch.sampling_logprobs
            batches.append(
                PpoMicroBatch(
                    **vars(batch),
                    old_logprobs=logprobs,
                    ref_logprobs=ref,
                    old_values=values,
                    advantages=advantages,
                    returns=advantages + values,
                    weights=sampling_weights(logprobs, sampling, mask, rollout.correction, rollout.correction_cap),
                )
            )
        return PageTask(prompt, batches)

    def _token_costs(self, group: ScoredGroup) -> Tensor:
        """(G, T): what is taken from the reward at each token; 0 unless ppo.credit is alignment."""
        rows = [[0.0] * len(completion.token_ids) for completion in group.group.completions]
        if self.recipe.ppo.credit == "alignment":
            assert self.reward_function is not None
            rows = token_costs(group, placed_parts(group, self.reward_function, self.policy.pieces))
        return pad_rows(rows, 0.0)[0]

    def update(self, experience: Experience, rate: float, *, critic_only: bool = False) -> dict[str, float | None]:
        """ppo.inner_epochs passes over the batch, each divided into ppo.updates_per_batch optimiser steps.

        With `critic_only` no weight of the policy changes, not even those that the critic shares.
        """
        ppo, train, numbers = self.recipe.ppo, self.recipe.train, self.state.numbers
        measured = self._measures(experience)
        self.sums.zero_()
        norm = 0.0
        for _ in range(ppo.inner_epochs):
            for part in range(ppo.updates_per_batch):
                mine = experience[part :: ppo.updates_per_batch]
                if mine:  # if the engine refused pages, there may be fewer pages than updates
                    self.accumulate(mine, critic_only=critic_only)
                    norm = clipped_step(self.optimizer, self.parameters, rate, train.max_grad_norm)
        distributed.sum_over(self.sums)
        policy, value, entropy, clipped, value_clipped, tokens = self.sums.tolist()
        updates = ppo.inner_epochs * ppo.updates_per_batch
        kl = measured.pop("kl_per_completion")
        if ppo.kl_target and kl is not None:
            numbers["kl_coefficient"] = adapted_kl_coefficient(numbers["kl_coefficient"], kl, ppo.kl_target)
        return {
            "loss": (policy + ppo.value_coefficient * value) / updates,
            "policy_loss": policy / updates,
            "value_loss": value / updates,
            "clip_fraction": clipped / max(tokens, 1),
            "value_clip_fraction": value_clipped / max(tokens, 1),
            "entropy": entropy / max(tokens, 1),
            "grad_norm": norm,
            "lr": rate,
            **measured,
        }

    @torch.no_grad()
    def _measures(self, experience: Experience) -> dict[str, float | None]:
        """Metrics of policy and critic before the first update."""
        ppo = self.recipe.ppo
        batches = [batch for task in experience for batch in task.batches]
        old = flatten_masked(experience, lambda batch: batch.old_logprobs)
        values = flatten_masked(experience, lambda batch: batch.old_values)
        returns = flatten_masked(experience, lambda batch: batch.returns)
        every = torch.ones_like(returns, dtype=torch.bool)
        kl = None
        if ppo.beta:
            ref = torch.cat([b.ref_logprobs[b.mask] for b in batches if b.ref_logprobs is not None])
            kl = kl_estimate(old, ref, ppo.kl)
        mismatch = [mismatch_sums(b.old_logprobs, b.sampling_logprobs, b.mask, b.weights) for b in batches]
        return {
            "kl": kl.mean().item() if kl is not None else None,
            "kl_per_completion": kl.sum().item() / sum(len(b.rows) for b in batches) if kl is not None else None,
            "kl_coefficient": self.state.numbers["kl_coefficient"] if ppo.beta else None,
            "returns": returns.mean().item(),
            "values": values.mean().item(),
            "explained_variance": explained_variance(values, returns, every).item(),
            **mismatch_metrics(reduce(add, mismatch)),
        }

    def accumulate(self, experience: Experience, *, critic_only: bool = False) -> None:
        """Add up the gradient of one optimiser step on these pages."""
        batches = [batch for task in experience for batch in task.batches]
        counts = StepCounts(
            tokens=sum(int(batch.mask.sum()) for batch in batches),
            completions=sum(len(batch.rows) for batch in batches),
            max_tokens=self.recipe.rollout.max_tokens,
        )
        for task in experience:
            if task.prompt is not None:
                self._backward(task.prompt, task.batches, counts, critic_only)

    def _backward(
        self, prompt: Prompt, batches: Sequence[PpoMicroBatch], counts: StepCounts, critic_only: bool
    ) -> None:
        """Add the gradient of one page's completions. The page is read once for all of them."""
        ppo, rollout, device = self.recipe.ppo, self.recipe.rollout, self.policy.device
        reading = PageReader(self.policy, prompt, grad=not critic_only)
        critics = self.critic.reading(reading, grad=True)
        beta = self.state.numbers["kl_coefficient"] if ppo.kl_in == "loss" else 0.0
        for batch in batches:
            with torch.set_grad_enabled(not critic_only):
                scores = reading.score(batch.ids, batch.mask, rollout.temperature)
            mask, old, advantages = batch.mask.to(device), batch.old_logprobs.to(device), batch.advantages.to(device)
            old_values, returns = batch.old_values.to(device), batch.returns.to(device)
            policy_part = grpo_loss(
                scores.logprobs,
                old,
                advantages,
                mask,
                counts,
                ref_logprobs=batch.ref_logprobs.to(device) if batch.ref_logprobs is not None else None,
                weights=batch.weights.to(device),
                clip_low=ppo.clip,
                clip_high=ppo.clip,
                normalizer="token",
                beta=beta,
                kl=ppo.kl,
            )
            apart = self.critic.own is not None and not critic_only  # two models, one backward pass at a time
            if apart:
                policy_part.backward()  # type: ignore[no-untyped-call]
            values = self.critic.values(critics, scores, batch)
            clip = ppo.value_clip or None
            value_part = value_loss(values, old_values, returns, mask, counts.tokens, clip=clip)
            weighted = ppo.value_coefficient * value_part
            (weighted if apart else policy_part + weighted).backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                tokens = mask.sum()
                clipped = clip_fraction(
                    scores.logprobs, old, advantages, mask, clip_low=ppo.clip, clip_high=ppo.clip, ratio="token"
                )
                beyond = tokens * 0.0
                if clip is not None:
                    beyond = tokens * value_clip_fraction(values, old_values, returns, mask, clip=clip)
                entropy = masked_sum(scores.entropy, mask)
                self.sums += torch.stack(
                    [policy_part.detach(), value_part.detach(), entropy, clipped * tokens, beyond, tokens.float()]
                )
        if not critic_only:
            reading.backward()
        if critics is not reading:
            critics.backward()

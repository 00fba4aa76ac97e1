"""A whole step: where its time goes, how fast the transformers engine is, and what it takes in memory."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch

from gpu_checks.bench import Bench, Result, at_most, skipped
from ocr_rl.algorithms.grpo import GrpoLearner
from ocr_rl.models.policy import Policy
from ocr_rl.pipeline.memory_plan import Machine, MemoryPlan, gib, plan_memory
from ocr_rl.rewards.reward_function import RewardFunction, make_rubric
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine

PLAN = 0.15
"""How far a peak may be from the dry run's claim."""
RECOMPUTED_TIME, RECOMPUTED_MEMORY = 1.3, 0.3
"""Learning with activation checkpointing against without; memory is that of the activations."""


@dataclass(frozen=True)
class Measured:
    """The mean of the steps after the first; bytes are peaks of all steps, 0 without a GPU."""

    sampling: float
    scoring: float
    learning: float
    tokens: int
    """Sampled in a step."""
    sampling_peak: int
    learning_peak: int
    held: int
    """Bytes of weights, gradients and the optimiser's state."""

    @property
    def seconds(self) -> float:
        return self.sampling + self.scoring + self.learning


def endless(policy: Policy) -> Policy:
    """The same weights, but the end token is never sampled: every completion has all of its tokens."""
    other = copy.copy(policy)
    other.end_ids, other.suppressed_ids = [], (*policy.suppressed_ids, *policy.end_ids)
    return other


def measured(bench: Bench, dtype: str, checkpointing: bool, steps: int = 2) -> Measured:
    recipe, pages = bench.recipe(dtype, checkpointing), bench.pages()
    policy = bench.policy(recipe)
    reward = RewardFunction(make_rubric(recipe.reward), pages)
    engine, learner = TransformersEngine(endless(policy), recipe.rollout.rows), GrpoLearner(policy, recipe)
    sampling = Sampling(recipe.rollout.group_size, 1.0, recipe.rollout.max_tokens)
    times, peaks = [], []
    for step in range(1 + steps):
        bench.free()
        clock = [bench.clock()]
        with policy.step_pages.step():
            groups = engine.generate(pages, sampling, seed=step)
            clock.append(bench.clock())
            peaks.append([bench.peak(), 0])
            scored = reward.score_groups(groups)
            clock.append(bench.clock())
            bench.free()
            (_, spread), advantages = learner.advantages(scored, reward)
            learner.update(scored, advantages, torch.ones_like(spread), recipe.train.learning_rate)
            clock.append(bench.clock())
            peaks[-1][1] = bench.peak()
        times.append([later - earlier for earlier, later in pairwise(clock)])
    sampled, learned = (max(peak) for peak in zip(*peaks, strict=True))
    bench.free()
    means = [sum(part) / steps for part in zip(*times[1:], strict=True)]
    gradients = sum(parameter.nbytes for parameter in policy.trainable_parameters())  # freed after a step
    tokens = sampling.max_tokens * sampling.group_size * len(pages)
    return Measured(*means, tokens, sampled, learned, bench.held() + gradients)


def planned(bench: Bench, dtype: str, checkpointing: bool) -> MemoryPlan:
    """What the dry run says, without the process itself."""
    machine = Machine(processes=1, memory=None, gpu=bench.gpu, base=0)
    return plan_memory(bench.recipe(dtype, checkpointing), bench.pages(), machine)


def steps(bench: Bench, dtype: str) -> Iterator[Result]:
    unit = "s" if bench.gpu else "CPU s"
    kept = measured(bench, dtype, checkpointing=False)
    parts = {"sampling": kept.sampling, "scoring": kept.scoring, "learning": kept.learning}
    split = ", ".join(f"{name} {value / kept.seconds:.0%}" for name, value in parts.items())
    yield Result(f"step in {dtype}", f"{kept.seconds:.2f} {unit}: {split}", values=parts)
    rate = kept.tokens / kept.sampling
    yield Result("transformers engine", f"{rate:,.0f} tokens / {unit}", values={"tokens_per_second": rate})
    recomputed = measured(bench, dtype, checkpointing=True)
    ratio = recomputed.learning / kept.learning
    if bench.gpu:
        yield at_most("recomputed activations: time of learning", ratio, RECOMPUTED_TIME, " of without")
        share = activations(recomputed) / activations(kept)
        yield at_most("recomputed activations: memory", share, RECOMPUTED_MEMORY, " of without")
    else:
        yield Result("recomputed activations: time of learning", f"{ratio:.2f} of without", values={"value": ratio})
        yield skipped("recomputed activations: memory", "there is no GPU; scripts/bench/checkpointing.py measures it")
    for name, checkpointing, found in (("", False, kept), (", recomputed", True, recomputed)):
        plan = planned(bench, dtype, checkpointing)
        yield from against_plan(bench, plan, found, name)


def activations(found: Measured) -> int:
    return found.learning_peak - found.held


def against_plan(bench: Bench, plan: MemoryPlan, found: Measured, name: str) -> Iterator[Result]:
    for part, claim, peak in (
        ("learning", plan.learning, found.learning_peak),
        ("sampling", plan.sampling, found.sampling_peak),
    ):
        title = f"memory plan, {part}{name}"
        if not bench.gpu:
            yield skipped(title, f"{gib(claim)} planned; there is no GPU, scripts/bench/memory_plan.py measures it")
            continue
        ratio = claim / peak
        figure = f"{gib(claim)} planned, {gib(peak)} taken: {ratio:.2f}"
        bar = f"{1 - PLAN:.2f} to {1 + PLAN:.2f}"
        yield Result(title, figure, bar, abs(ratio - 1) <= PLAN, {"planned": claim, "taken": peak})

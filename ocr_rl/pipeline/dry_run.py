"""`ocr-rl train --dry-run`: tokens, memory and time, and nothing written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

import torch

from ocr_rl.algorithms import grpo, ppo, reward_model, sft
from ocr_rl.algorithms.preference.registry import LEARNERS
from ocr_rl.algorithms.preference.sources import of_pages
from ocr_rl.pipeline.job import Job, describe
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.training.checkpoint import environment
from ocr_rl.training.resources import peak_memory


def one_gradient(job: Job, scored: Sequence[ScoredGroup]) -> None:
    """The gradient of an update on these groups, for a dry run."""
    recipe = job.recipe
    apart = [replace(group, rewards=[float(i) for i in range(len(group.rewards))]) for group in scored]
    match recipe.algorithm:
        case "ppo":
            actor = ppo.PpoLearner(job.policy, recipe)
            actor.accumulate(actor.experience(scored))
        case "reward-model":
            reward_learner = reward_model.RewardModelLearner(job.policy, recipe)
            reward_learner.accumulate(reward_learner.pairs(apart))
        case "sft":
            sft.SftTrainer(job.policy, job.engine, job.train, recipe).accumulate([group.group.page for group in scored])
        case "dpo" | "orpo" | "kto":
            preferred = LEARNERS[recipe.algorithm](job.policy, recipe)
            pages = of_pages(preferred.choose(apart))
            preferred.begin(pages)
            preferred.accumulate(pages)
        case _:
            advantages, spread = grpo.advantages_of(scored, recipe.grpo)
            learner = grpo.GrpoLearner(job.policy, recipe)
            learner.accumulate(scored, learner.prepare(scored, advantages, torch.ones_like(spread)))


def dry_run(job: Job, say: Callable[[str], None] = print) -> None:
    """Do one page of one step for real and say what the whole run would take. Nothing is written or updated."""
    recipe, policy = job.recipe, job.policy
    rollout, steps = recipe.rollout, recipe.train.steps
    sample = job.train[:: max(1, len(job.train) // 32)][:32]
    prompts = [len(policy.prompt(page)) for page in sample]
    texts = [len(policy.processor.tokenizer(page.text)["input_ids"]) for page in sample if page.text]
    longest = sorted(zip(prompts, sample, strict=True), key=lambda pair: -pair[0])[0][1]
    sampling = Sampling(rollout.group_size, rollout.temperature, rollout.max_tokens)
    if policy.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    began = time.monotonic()
    with closing(job.engine):
        groups = job.engine.generate([longest], sampling, seed=0)
    one_gradient(job, job.reward_function.score_groups(groups))
    per_page = time.monotonic() - began
    policy.model.zero_grad(set_to_none=True)
    trained = sum(p.numel() for p in policy.trainable_parameters())
    peak = peak_memory(policy.device.type == "cuda") << 20
    say(
        "\n".join(
            [
                f"pages       {len(job.train)} to train on, {len(job.held_out)} held out",
                f"policy      {describe(policy)}",
                f"prompt      {_spread(prompts)} tokens, image included",
                f"reference   {_spread(texts)} tokens; rollout.max_tokens is {rollout.max_tokens}",
                f"step        {rollout.pages_per_step} pages x {rollout.group_size} completions",
                f"memory      {(peak + 8 * trained) / 2**30:.1f} GiB, optimiser state included",
                f"time        about {per_page * rollout.pages_per_step * steps / 60:.0f} minutes at most for {steps} "
                "steps, from the longest prompt of a sample",
                f"environment {json.dumps(environment())}",
            ]
        )
    )


def _spread(values: Sequence[int]) -> str:
    if not values:
        return "no"
    ordered = sorted(values)
    return f"{ordered[0]} to {ordered[-1]} (median {ordered[len(ordered) // 2]})"

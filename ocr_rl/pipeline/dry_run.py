"""`ocr-rl train --dry-run`: what a run would take in tokens, memory and time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch

from ocr_rl import distributed
from ocr_rl.algorithms.preference.sources import of_pages
from ocr_rl.models.divided_tensors import own_part
from ocr_rl.models.policy import Policy
from ocr_rl.pipeline.job import ALGORITHMS, Job, describe, make_scorer, make_trainer
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.training.checkpoint import environment
from ocr_rl.training.readable import report_refused
from ocr_rl.training.resources import peak_memory
from ocr_rl.training.shared_rollout import roll_out
from ocr_rl.types import Group, ImageError, Page


def dry_run(job: Job, say: Callable[[str], None] = print) -> None:
    """Sample a page in each process, compute the gradient, and report what the whole run would take.

    Nothing is written.
    """
    recipe, policy = job.recipe, job.policy
    rollout, steps = recipe.rollout, recipe.train.steps
    stored = {own[0].page.id: own for own in of_pages(job.examples or ())}
    used = [own[0].page for own in stored.values()] or job.train
    sample, prompts, unread = _prompt_lengths(policy, used[:: max(1, len(used) // 32)][:32])
    texts = [len(policy.processor.tokenizer(page.text)["input_ids"]) for page in sample if page.text]
    ordered = sorted(zip(prompts, sample, strict=True), key=lambda pair: -pair[0])
    longest = [page for _, page in ordered[: distributed.count()]]
    sampling = Sampling(rollout.group_size, rollout.temperature, rollout.max_tokens)
    if policy.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    began = time.monotonic()
    samples = ALGORITHMS[recipe.algorithm].samples and not stored
    own = [examples for page in longest if (examples := stored.get(page.id))]
    # a precomputed reference is computed for these pages alone
    fresh = replace(job, examples=[example for examples in own for example in examples] or None)
    with make_scorer(fresh) as scorer:
        with closing(job.engine):
            if samples:
                rolled = roll_out(GroupScorer(job.reward_function, 0), job.engine, longest, sampling, seed=0)
                report_refused(rolled.refused)
                scored = [_apart(group) for group in rolled.groups]
            else:
                scored = [ScoredGroup(Group(page, ()), (), ()) for page in longest]
        with closing(make_trainer(fresh, scorer)) as trainer:
            trainer.dry_run(scored)
    seconds = max(distributed.gather([time.monotonic() - began]))
    policy.model.zero_grad(set_to_none=True)
    trained = sum(own_part(p).numel() for p in policy.trainable_parameters())
    on_gpu, offloaded = policy.device.type == "cuda", policy.shards is not None and policy.shards.offload
    needed = (peak_memory(on_gpu) << 20) + (0 if on_gpu and offloaded else 8 * trained)
    where = "in the machine's memory" if on_gpu and offloaded else "included"
    rounds = -(-rollout.pages_per_step // distributed.count()) * steps
    say(
        "\n".join(
            [
                f"pages       {len(job.train)} to train on, {len(job.held_out)} held out",
                f"policy      {describe(job)}",
                f"prompt      {_spread(prompts)} tokens, image included",
                f"reference   {_spread(texts)} tokens; rollout.max_tokens is {rollout.max_tokens}",
                f"step        {rollout.pages_per_step} pages{_learned(job, stored, samples)}",
                f"memory      {max(distributed.gather([needed])) / 2**30:.1f} GiB{_each()}, optimiser state {where}",
                f"time        about {seconds * rounds / 60:.0f} minutes at most for {steps} "
                "steps, from the longest prompt of a sample",
                f"environment {json.dumps(environment())}",
                *unread,
            ]
        )
    )


def _each() -> str:
    return f" in each of {distributed.count()} processes" if distributed.count() > 1 else ""


def _learned(job: Job, stored: Mapping[str, Sequence[Any]], samples: bool) -> str:
    """What a step learns of each page."""
    if samples:
        return f" x {job.recipe.rollout.group_size} completions"
    if stored:
        count = sum(map(len, stored.values()))
        return f", each with its examples: {count:,} on {len(stored):,} pages in {job.recipe.pairs.path}"
    return ", each with its text"


def _prompt_lengths(policy: Policy, pages: Sequence[Page]) -> tuple[list[Page], list[int], list[str]]:
    """The pages that can be read, the tokens of their prompts, and a line for each other page."""
    lengths, unread = {}, []
    for page in pages:
        try:
            lengths[page.id] = len(policy.prompt(page))
        except ImageError as error:
            unread.append(f"left out    {page.id}: {error.reason}")
    if not lengths:
        raise ValueError(f"none of the first {len(pages)} pages can be read; {unread[0].removeprefix('left out    ')}")
    return [page for page in pages if page.id in lengths], list(lengths.values()), unread


def _apart(group: ScoredGroup) -> ScoredGroup:
    """With rewards that differ, so that there is something to learn."""
    return replace(group, rewards=[float(i) for i in range(len(group.rewards))])


def _spread(values: Sequence[int]) -> str:
    if not values:
        return "no"
    ordered = sorted(values)
    return f"{ordered[0]} to {ordered[-1]} (median {ordered[len(ordered) // 2]})"

"""The same step by TRL's GRPOTrainer, where TRL is installed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import torch

from gpu_checks.bench import Bench, Result, skipped
from gpu_checks.steps import measured
from ocr_rl.rewards.reward_function import RewardFunction, make_rubric

NAME = "a step against TRL's"


def against_trl(bench: Bench, dtype: str) -> Iterator[Result]:
    """Same weights, pages, reward, loss and number of tokens, without checkpointing."""
    if find_spec("trl") is None:
        yield skipped(NAME, "TRL is not installed")
        return
    ours, unit = measured(bench, dtype, checkpointing=False).seconds, "s" if bench.gpu else "CPU s"
    bench.free()
    try:
        theirs = trl_seconds(bench, dtype)
    except torch.cuda.OutOfMemoryError:
        yield skipped(NAME, f"TRL's step does not fit into the memory; ours takes {ours:.2f} {unit}")
        return
    figure = f"{ours / theirs:.2f} of its time: {ours:.2f} {unit}, TRL {theirs:.2f} {unit}"
    yield Result(NAME, figure, values={"ours": ours, "trl": theirs})


def trl_seconds(bench: Bench, dtype: str, steps: int = 2) -> float:
    """The mean of the steps after the first."""
    import transformers
    from trl_trainer import make_trl_trainer

    recipe, pages, ends = bench.recipe(dtype), bench.pages(), []
    recipe = replace(recipe, train=replace(recipe.train, steps=1 + steps))
    policy = bench.policy(recipe)

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(bench.clock())

    with tempfile.TemporaryDirectory() as folder:
        reward = RewardFunction(make_rubric(recipe.reward), pages)
        forced = {"generation_kwargs": {"min_new_tokens": recipe.rollout.max_tokens}, "shuffle_dataset": False}
        trainer = make_trl_trainer(policy, pages, reward, recipe, folder, **forced)
        trainer.add_callback(Clock())
        trainer.train()
    return sum(later - earlier for earlier, later in pairwise(ends)) / steps

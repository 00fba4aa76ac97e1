"""The same GRPO step on the CPU and on the device, and in bfloat16: loss, gradients and log probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from gpu_checks.bench import LETTERS, Bench, Result, at_most
from ocr_rl.algorithms.grpo import GrpoLearner
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.page_reader import PageReader
from ocr_rl.models.policy import Policy
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.types import Completion, Group, Page

LOSS, LOGPROB, GRADIENT = 1e-4, 1e-3, 1e-3
"""Between the CPU and the device, in float32. The gradient's is ||difference|| / ||gradient||."""
BF16_LOGPROB, BF16_GRADIENT, BF16_ENGINE = 0.1, 0.15, 0.1
"""Between bfloat16 and float32 on the device: mean |difference| of log probabilities, and the gradient as above; and
between the engine and the learner, both in bfloat16."""


class Step(NamedTuple):
    """What a training step computes, on the CPU."""

    loss: float
    logprobs: Tensor
    """Of all trained tokens, one after another."""
    gradients: dict[str, Tensor]


def parity(bench: Bench) -> Iterator[Result]:
    """The device takes a page's completions together, the CPU one after another: the same sum in another order."""
    recipe = bench.recipe()
    policy = bench.policy(recipe, torch.device("cpu"))
    groups = random_groups(policy, bench.pages()[:1], min(4, bench.shape.group_size), min(64, bench.shape.tokens))
    one_by_one = replace(recipe, train=replace(recipe.train, micro_batch_tokens=1))
    expected = step_of(policy, one_by_one, groups)
    del policy
    found = step_of(bench.policy(recipe), recipe, groups)
    yield at_most("float32 against the CPU: loss", abs(found.loss - expected.loss), LOSS)
    yield at_most("float32 against the CPU: log probabilities", largest(found, expected), LOGPROB)
    yield at_most("float32 against the CPU: gradient", gradient_error(found, expected), GRADIENT)
    half = bench.recipe("bfloat16")
    policy = bench.policy(half)
    rounded = step_of(policy, half, groups)
    difference = (rounded.logprobs - found.logprobs).abs().mean().item()
    yield at_most("bfloat16 against float32: log probabilities", difference, BF16_LOGPROB)
    yield at_most("bfloat16 against float32: gradient", gradient_error(rounded, found), BF16_GRADIENT)
    yield at_most("bfloat16: engine against learner", engine_error(bench, policy), BF16_ENGINE)


def random_groups(policy: Policy, pages: list[Page], size: int, tokens: int) -> list[ScoredGroup]:
    """Completions of several lengths, as if an engine near the policy had sampled them, with rewards 0, 1, 2, ..."""
    random, groups = Random(0), []
    known = policy.processor.tokenizer.convert_tokens_to_ids(list(LETTERS))
    for page in pages:
        rows = [[*random.choices(known, k=tokens - 1 - i), policy.end_ids[0]] for i in range(size)]
        ids, mask = pad_rows(rows, policy.pad_id)
        with torch.no_grad():
            logprobs = PageReader(policy, policy.prompt(page)).score(ids, mask, 1.0).logprobs.tolist()
        completions = [
            Completion(row, policy.text(row), "end", [value + random.gauss(0, 0.2) for value in own[: len(row)]])
            for row, own in zip(rows, logprobs, strict=True)
        ]
        groups.append(ScoredGroup(Group(page, completions), (), [float(i) for i in range(size)]))
    return groups


def step_of(policy: Policy, recipe: object, groups: list[ScoredGroup]) -> Step:
    """One GRPO step up to its gradient."""
    learner = GrpoLearner(policy, recipe)  # type: ignore[arg-type]
    _, advantages = learner.advantages(groups)
    every = torch.ones(len(groups), dtype=torch.bool)
    learner.accumulate(groups, learner.prepare(groups, advantages, every))
    gradients = {n: p.grad.float().cpu() for n, p in policy.model.named_parameters() if p.grad is not None}
    policy.model.zero_grad(set_to_none=True)
    logprobs = []
    with torch.no_grad():
        for group in groups:
            rows = [list(completion.token_ids) for completion in group.group.completions]
            ids, mask = pad_rows(rows, policy.pad_id)
            logprobs.append(
                PageReader(policy, policy.prompt(group.group.page)).score(ids, mask, 1.0).logprobs.cpu()[mask]
            )
    return Step(learner.sums[0].item(), torch.cat(logprobs), gradients)


def largest(found: Step, expected: Step) -> float:
    return float((found.logprobs - expected.logprobs).abs().max())


def gradient_error(found: Step, expected: Step) -> float:
    """||difference|| / ||gradient|| over all weights."""
    assert found.gradients.keys() == expected.gradients.keys()
    of = torch.stack([g.norm() for g in expected.gradients.values()]).norm()
    apart = torch.stack([(found.gradients[n] - g).norm() for n, g in expected.gradients.items()]).norm()
    return float(apart / of)


def engine_error(bench: Bench, policy: Policy) -> float:
    """The mean |difference| of the engine's log probabilities of what it samples, and the learner's."""
    sampling = Sampling(bench.shape.group_size, 1.0, min(64, bench.shape.tokens))
    [group] = TransformersEngine(policy).generate(bench.pages()[:1], sampling, seed=0)
    ids, mask = pad_rows([list(c.token_ids) for c in group.completions], policy.pad_id)
    sampled = pad_rows([list(c.sampling_logprobs) for c in group.completions], 0.0)[0]
    with torch.no_grad():
        scored = PageReader(policy, policy.prompt(group.page)).score(ids, mask, 1.0).logprobs.cpu()
    return float((scored - sampled)[mask].abs().mean())

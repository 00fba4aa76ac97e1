"""What is learned from preferences: DPO and ORPO from pairs of transcriptions, KTO from good and bad ones.

A page is read once for all of its completions that take part in a step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ocr_rl import distributed
from ocr_rl.algorithms.preference.packing import PackedExamples, cut_examples, totals
from ocr_rl.config.schema import Recipe
from ocr_rl.models.page_reader import PageReader
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import Prompt
from ocr_rl.objectives.preference_losses import reward_accuracy, reward_margin
from ocr_rl.rewards.preferences import LabelledCompletion, Pair, pairs_of_groups
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.training.optimizer import clipped_step, make_optimizer
from ocr_rl.types import Completion

Example = TypeVar("Example", bound=Pair | LabelledCompletion)
Metrics = dict[str, float | None]


# What a backward pass holds.


# What is learned.


class PreferenceLearner(ABC, Generic[Example]):
    """Examples in, weights changed in place, metrics out."""

    def __init__(self, policy: Policy, recipe: Recipe) -> None:
        self.policy, self.recipe = policy, recipe
        self.parameters = policy.trainable_parameters()
        self.optimizer = make_optimizer(self.parameters, recipe.train)

    def begin(self, pages: Sequence[Sequence[Example]]) -> None:
        """Told before the first update what all steps learn from, where that is known: each page's examples."""

    @abstractmethod
    def choose(self, groups: Sequence[ScoredGroup]) -> list[Example]:
        """The examples that scored groups give."""

    @abstractmethod
    def sides(self, example: Example) -> Iterable[tuple[Completion, float]]:
        """Where the update moves each completion of an example: 1 towards, -1 away."""

    @abstractmethod
    def accumulate(self, pages: Sequence[Sequence[Example]]) -> Metrics:
        """Add up the gradient of the mean loss of all examples, those of a page together. Without any there is none."""

    def update(self, pages: Sequence[Sequence[Example]], rate: float) -> Metrics:
        """One optimiser step."""
        metrics = self.accumulate(pages)
        norm = clipped_step(self.optimizer, self.parameters, rate, self.recipe.train.max_grad_norm)
        return metrics | {"grad_norm": norm, "lr": rate}


class PairLearner(PreferenceLearner[Pair]):
    """A loss of the chosen and the rejected completion of a page."""

    average = False
    """The loss is one of mean log probabilities per token, not of their sums."""

    @abstractmethod
    def losses(self, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        """Of pairs (K, 2), the chosen first -> (K,). Without a reference the second are 0."""

    @abstractmethod
    def rewards(self, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        """What the policy says of both, as a reward (K, 2); a metric."""

    def choose(self, groups: Sequence[ScoredGroup]) -> list[Pair]:
        pairs = self.recipe.pairs
        return pairs_of_groups(groups, pairs.choose, pairs.margin, pairs.most)

    def sides(self, example: Pair) -> Iterable[tuple[Completion, float]]:
        return (example.chosen, 1.0), (example.rejected, -1.0)

    def accumulate(self, pages: Sequence[Sequence[Pair]]) -> Metrics:
        temperature = self.recipe.rollout.temperature
        count = sum(map(len, pages))
        losses, rewards, logprobs = [], [], []
        for pairs in distributed.mine(pages):
            prompt = self.policy.prompt(pairs[0].page)
            batches = self.cut(pairs)
            refs = self.reference_totals(prompt, pairs, batches)
            reading = PageReader(self.policy, prompt, grad=True)
            for batch, ref in zip(batches, refs, strict=True):
                own = totals(reading, batch, temperature, average=self.average)
                loss = self.losses(own, ref)
                (loss.sum() / count).backward()  # type: ignore[no-untyped-call]
                losses.append(loss.detach())
                rewards.append(self.rewards(own.detach(), ref))
                logprobs.append(own.detach())
            reading.backward()
        if not count:
            return {"loss": 0.0, "pairs": 0}
        chosen, rejected = _over_processes(rewards).unbind(1)
        likelihoods = _over_processes(logprobs).mean(0).tolist()
        return {
            "loss": _over_processes(losses).mean().item(),
            "pairs": count,
            "rewards/chosen": chosen.mean().item(),
            "rewards/rejected": rejected.mean().item(),
            "rewards/margin": reward_margin(chosen, rejected).item(),
            "rewards/accuracy": reward_accuracy(chosen, rejected).item(),
            "logprobs/chosen": likelihoods[0],
            "logprobs/rejected": likelihoods[1],
        }

    def cut(self, pairs: Sequence[Pair]) -> list[PackedExamples]:
        """What is scored together of a page's pairs."""
        completions = [(pair.chosen, pair.rejected) for pair in pairs]
        return cut_examples(completions, self.policy.pad_id, self.recipe.train.micro_batch_tokens)

    @abstractmethod
    def reference_totals(
        self, prompt: Prompt, pairs: Sequence[Pair], batches: Sequence[PackedExamples]
    ) -> list[Tensor]:
        """What the reference says of a page's pairs, as `totals` does for each batch of them."""


def _over_processes(parts: Sequence[Tensor]) -> Tensor:
    """Those of all processes in one, on the CPU; empty without any."""
    gathered = distributed.gather([part.cpu() for part in parts])
    return torch.cat(gathered) if gathered else torch.zeros(0)


def _mean(values: Tensor) -> float | None:
    return values.mean().item() if len(values) else None

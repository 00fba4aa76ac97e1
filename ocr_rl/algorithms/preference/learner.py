"""The update of a preference algorithm, and what those that learn from pairs share.

A page is read once for all of its completions in a step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
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
from ocr_rl.rewards.preference_files import read_pairs
from ocr_rl.rewards.preferences import LabelledCompletion, Pair, pairs_of_groups
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.training.optimizer import clipped_step, make_optimizer
from ocr_rl.training.readable import NO_PROMPTS
from ocr_rl.types import Completion, Page

Example = TypeVar("Example", bound=Pair | LabelledCompletion)
Metrics = dict[str, float | None]


class PreferenceLearner(ABC, Generic[Example]):
    """The update: examples in, weights changed in place, metrics out."""

    def __init__(self, policy: Policy, recipe: Recipe) -> None:
        self.policy, self.recipe = policy, recipe
        self.parameters = policy.trainable_parameters()
        self.optimizer = make_optimizer(self.parameters, recipe.train)

    @staticmethod
    @abstractmethod
    def read(file: Path, pages: Sequence[Page], others: Sequence[Page]) -> list[Example]:
        """The examples of `pages` in a file; those of `others` are skipped."""

    @abstractmethod
    def choose(self, groups: Sequence[ScoredGroup]) -> list[Example]:
        """Examples made of scored groups."""

    def begin(self, pages: Sequence[Sequence[Example]]) -> Mapping[str, str]:
        """Called before the first update with the examples of each page, if those of all steps are known by then.

        Returns:
            Why pages cannot be learned, by page id.
        """
        return {}

    @abstractmethod
    def sides(self, example: Example) -> Iterable[tuple[Completion, float]]:
        """An example's completions, with 1 if the update makes the completion likelier, -1 if less likely."""

    @abstractmethod
    def accumulate(self, pages: Sequence[Sequence[Example]], prompts: Mapping[str, Prompt] = NO_PROMPTS) -> Metrics:
        """Add up the gradient of the mean loss of all examples, given by page; without examples, none.

        `prompts` are those of pages that were read already, by page id.
        """

    def update(
        self, pages: Sequence[Sequence[Example]], rate: float, prompts: Mapping[str, Prompt] = NO_PROMPTS
    ) -> Metrics:
        """One optimiser step."""
        metrics = self.accumulate(pages, prompts)
        norm = clipped_step(self.optimizer, self.parameters, rate, self.recipe.train.max_grad_norm)
        return metrics | {"grad_norm": norm, "lr": rate}


class PairLearner(PreferenceLearner[Pair]):
    """A loss of a chosen and a rejected completion of a page."""

    average = False
    """Whether the loss takes mean log probabilities per token instead of their sums."""

    @abstractmethod
    def losses(self, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        """Losses of pairs: (K, 2), the chosen completion first -> (K,). Without a reference, its logprobs are 0."""

    @abstractmethod
    def rewards(self, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        """The implicit rewards of both completions (K, 2); a metric."""

    read = staticmethod(read_pairs)

    def choose(self, groups: Sequence[ScoredGroup]) -> list[Pair]:
        pairs = self.recipe.pairs
        return pairs_of_groups(groups, pairs.choose, pairs.margin, pairs.most)

    def sides(self, example: Pair) -> Iterable[tuple[Completion, float]]:
        return (example.chosen, 1.0), (example.rejected, -1.0)

    def accumulate(self, pages: Sequence[Sequence[Pair]], prompts: Mapping[str, Prompt] = NO_PROMPTS) -> Metrics:
        temperature = self.recipe.rollout.temperature
        count = sum(map(len, pages))
        losses, rewards, logprobs = [], [], []
        for pairs in distributed.mine(pages):
            prompt = prompts.get(pairs[0].page.id) or self.policy.prompt(pairs[0].page)
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
        chosen, rejected = over_processes(rewards).unbind(1)
        likelihoods = over_processes(logprobs).mean(0).tolist()
        return {
            "loss": over_processes(losses).mean().item(),
            "pairs": count,
            "rewards/chosen": chosen.mean().item(),
            "rewards/rejected": rejected.mean().item(),
            "rewards/margin": reward_margin(chosen, rejected).item(),
            "rewards/accuracy": reward_accuracy(chosen, rejected).item(),
            "logprobs/chosen": likelihoods[0],
            "logprobs/rejected": likelihoods[1],
        }

    def cut(self, pairs: Sequence[Pair]) -> list[PackedExamples]:
        """A page's pairs in micro-batches."""
        completions = [(pair.chosen, pair.rejected) for pair in pairs]
        return cut_examples(completions, self.policy.pad_id, self.recipe.train.micro_batch_tokens)

    @abstractmethod
    def reference_totals(
        self, prompt: Prompt, pairs: Sequence[Pair], batches: Sequence[PackedExamples]
    ) -> list[Tensor]:
        """The reference's `totals` of each batch of a page's pairs."""


def over_processes(parts: Sequence[Tensor]) -> Tensor:
    """The parts of all processes concatenated, on the CPU; empty if there are none."""
    gathered = distributed.gather([part.cpu() for part in parts])
    return torch.cat(gathered) if gathered else torch.zeros(0)


def mean(values: Tensor) -> float | None:
    """None if there are no values."""
    return values.mean().item() if len(values) else None

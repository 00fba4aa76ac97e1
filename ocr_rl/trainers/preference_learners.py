"""What is learned from preferences: DPO and ORPO from pairs of transcriptions, KTO from good and bad ones.

A page is read once for all of its completions that take part in a step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from ocr_rl import distributed
from ocr_rl.config.schema import Recipe
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import Prompt
from ocr_rl.models.reference import Reference
from ocr_rl.objectives.preference_losses import (
    dpo_loss,
    implicit_rewards,
    kto_loss,
    kto_reference,
    log_ratio_margin,
    orpo_loss,
    reward_accuracy,
    reward_margin,
    sequence_logprobs,
)
from ocr_rl.rewards.preferences import Labelled, Pair, labels_of_groups, pairs_of_groups
from ocr_rl.rewards.rewarder import ScoredGroup
from ocr_rl.trainers.loop import guarded_step, make_optimizer
from ocr_rl.trainers.micro_batches import Reading
from ocr_rl.types import Completion

Example = TypeVar("Example", bound=Pair | Labelled)
Metrics = dict[str, float | None]


# What a backward pass holds.


@dataclass(frozen=True)
class Together:
    """Completions of one page that are scored together, each once; on the CPU."""

    ids: Tensor
    """(B, T)."""
    mask: Tensor
    """(B, T)."""
    rows: Tensor
    """(K, n): which rows are the n completions of each of K examples."""
    examples: list[int]
    """K: which examples of the page these are."""


def cut_examples(examples: Sequence[Sequence[Completion]], pad_id: int, most: int) -> list[Together]:
    """Examples of one page, the short ones first, cut so that none holds more than `most` padded tokens.

    An example is not divided, and may hold more by itself.
    """
    widths = [max(len(c.token_ids) for c in example) for example in examples]
    chunks: list[tuple[list[int], dict[tuple[int, ...], int]]] = []
    for i in sorted(range(len(examples)), key=lambda i: widths[i]):
        keys = dict.fromkeys(tuple(c.token_ids) for c in examples[i])
        if not chunks or len(chunks[-1][1].keys() | keys) * widths[i] > most:
            chunks.append(([], {}))
        members, row_of = chunks[-1]
        members.append(i)
        for key in keys:
            row_of.setdefault(key, len(row_of))
    result = []
    for members, row_of in chunks:
        ids, mask = pad_rows([list(key) for key in row_of], pad_id)
        rows = torch.tensor([[row_of[tuple(c.token_ids)] for c in examples[i]] for i in members])
        result.append(Together(ids, mask, rows, members))
    return result


def totals(reading: Reading, batch: Together, temperature: float, *, average: bool = False) -> Tensor:
    """Log probabilities of each example's completions, summed over their tokens or averaged: (K, n)."""
    logprobs = reading.score(batch.ids, batch.mask, temperature).logprobs
    own = sequence_logprobs(logprobs, batch.mask.to(logprobs.device), average=average)
    return own[batch.rows.to(own.device)]


# What is learned.


class Learner(ABC, Generic[Example]):
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
        norm = guarded_step(self.optimizer, self.parameters, rate, self.recipe.train.max_grad_norm)
        return metrics | {"grad_norm": norm, "lr": rate}


class PairLearner(Learner[Pair]):
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
            reading = Reading(self.policy, prompt, grad=True)
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

    def cut(self, pairs: Sequence[Pair]) -> list[Together]:
        """What is scored together of a page's pairs."""
        completions = [(pair.chosen, pair.rejected) for pair in pairs]
        return cut_examples(completions, self.policy.pad_id, self.recipe.train.micro_batch_tokens)

    @abstractmethod
    def reference_totals(self, prompt: Prompt, pairs: Sequence[Pair], batches: Sequence[Together]) -> list[Tensor]:
        """What the reference says of a page's pairs, as `totals` does for each batch of them."""


class Dpo(PairLearner):
    """Direct Preference Optimization (arXiv 2305.18290), and IPO, hinge and robust DPO in its place."""

    def __init__(self, policy: Policy, recipe: Recipe) -> None:
        super().__init__(policy, recipe)
        self.reference = Reference(policy) if recipe.dpo.reference == "live" else None
        self._said: dict[tuple[str, tuple[int, ...]], float] = {}
        """By page and token ids, what the policy said before training; without a live reference."""
        self.average = recipe.dpo.length_average

    def begin(self, pages: Sequence[Sequence[Pair]]) -> None:
        if self.reference is not None:
            return
        said: list[tuple[tuple[str, tuple[int, ...]], float]] = []
        for pairs in tqdm(
            distributed.mine(pages), desc="reference", unit="page", leave=False, disable=not distributed.first()
        ):
            prompt = self.policy.prompt(pairs[0].page)
            batches = self.cut(pairs)
            for batch, values in zip(batches, self._totals(self.policy, prompt, batches), strict=True):
                for i, own in zip(batch.examples, values.tolist(), strict=True):
                    said += zip(_keys(pairs[i]), own, strict=True)
        self._said = dict(distributed.gather(said))

    def reference_totals(self, prompt: Prompt, pairs: Sequence[Pair], batches: Sequence[Together]) -> list[Tensor]:
        if self.reference is not None:
            with self.reference.policy() as frozen:
                return self._totals(frozen, prompt, batches)
        said = [[[self._said[key] for key in _keys(pairs[i])] for i in batch.examples] for batch in batches]
        return [torch.tensor(own, device=self.policy.device) for own in said]

    @torch.no_grad()
    def _totals(self, policy: Policy, prompt: Prompt, batches: Sequence[Together]) -> list[Tensor]:
        reading, temperature = Reading(policy, prompt), self.recipe.rollout.temperature
        return [totals(reading, batch, temperature, average=self.average) for batch in batches]

    def losses(self, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        dpo = self.recipe.dpo
        margin = log_ratio_margin(*logprobs.unbind(1), *ref_logprobs.unbind(1))
        return dpo_loss(margin, beta=dpo.beta, kind=dpo.loss, label_smoothing=dpo.label_smoothing)

    def rewards(self, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        return implicit_rewards(logprobs, ref_logprobs, beta=self.recipe.dpo.beta)


def _keys(pair: Pair) -> list[tuple[str, tuple[int, ...]]]:
    return [(pair.page.id, tuple(completion.token_ids)) for completion in (pair.chosen, pair.rejected)]


class Orpo(PairLearner):
    """Odds Ratio Preference Optimization (arXiv 2403.07691): likelihood of the chosen, and no reference."""

    average = True

    def reference_totals(self, prompt: Prompt, pairs: Sequence[Pair], batches: Sequence[Together]) -> list[Tensor]:
        return [torch.zeros(batch.rows.shape, device=self.policy.device) for batch in batches]

    def losses(self, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        chosen, rejected = logprobs.unbind(1)
        return orpo_loss(chosen, rejected, beta=self.recipe.orpo.beta)

    def rewards(self, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        return self.recipe.orpo.beta * logprobs


class Kto(Learner[Labelled]):
    """Kahneman-Tversky Optimization (arXiv 2402.01306), of completions that are good or bad by themselves."""

    def __init__(self, policy: Policy, recipe: Recipe) -> None:
        super().__init__(policy, recipe)
        self.reference = Reference(policy)

    def choose(self, groups: Sequence[ScoredGroup]) -> list[Labelled]:
        pairs = self.recipe.pairs
        threshold = pairs.threshold if pairs.label == "threshold" else None
        return labels_of_groups(groups, threshold, pairs.dead_zone)

    def sides(self, example: Labelled) -> Iterable[tuple[Completion, float]]:
        return ((example.completion, 1.0 if example.desirable else -1.0),)

    def accumulate(self, pages: Sequence[Sequence[Labelled]]) -> Metrics:
        beta, most = self.recipe.kto.beta, self.recipe.train.micro_batch_tokens
        temperature, device = self.recipe.rollout.temperature, self.policy.device
        count = sum(map(len, pages))
        desirable = sum(label.desirable for labels in pages for label in labels)
        if not count:
            return {"loss": 0.0, "desirable": 0, "undesirable": 0}
        batches = [
            cut_examples([(label.completion,) for label in labels], self.policy.pad_id, most) for labels in pages
        ]
        strangers = [*batches[1:], *batches[:1]] if len(batches) > 1 else [[]]
        own_pages, batches = distributed.mine(pages), distributed.mine(batches)
        prompts = [self.policy.prompt(labels[0].page) for labels in own_pages]
        refs, z = self._references(prompts, batches, distributed.mine(strangers))
        weight, other_weight = self.weights(desirable, count - desirable)
        losses, rewards, goods, logprobs = [], [], [], []
        for prompt, labels, own_batches, own_refs in zip(prompts, own_pages, batches, refs, strict=True):
            reading = Reading(self.policy, prompt, grad=True)
            for batch, ref in zip(own_batches, own_refs, strict=True):
                own = totals(reading, batch, temperature)[:, 0]
                good = torch.tensor([labels[i].desirable for i in batch.examples], device=device)
                loss = kto_loss(own - ref, good, z, beta=beta, desirable_weight=weight, undesirable_weight=other_weight)
                (loss.sum() / count).backward()  # type: ignore[no-untyped-call]
                losses.append(loss.detach())
                rewards.append(implicit_rewards(own.detach(), ref, beta=beta))
                goods.append(good)
                logprobs.append(own.detach())
            reading.backward()
        reward, good, logprob = map(_over_processes, (rewards, goods, logprobs))
        chosen, rejected = _mean(reward[good]), _mean(reward[~good])
        return {
            "loss": _over_processes(losses).mean().item(),
            "kl": z.item(),
            "desirable": desirable,
            "undesirable": count - desirable,
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margin": None if chosen is None or rejected is None else chosen - rejected,
            "rewards/accuracy": ((reward > beta * z) == good).float().mean().item(),
            "logprobs/chosen": _mean(logprob[good]),
            "logprobs/rejected": _mean(logprob[~good]),
        }

    def weights(self, desirable: int, undesirable: int) -> tuple[float, float]:
        """lambda_D and lambda_U. Balanced, all good completions count as much as all bad ones, at equal weights.

        A kind that is alone keeps the recipe's weight.
        """
        kto = self.recipe.kto
        if not (kto.balance and desirable and undesirable):
            return kto.desirable_weight, kto.undesirable_weight
        half = (desirable + undesirable) / 2
        return kto.desirable_weight * half / desirable, kto.undesirable_weight * half / undesirable

    @torch.no_grad()
    def _references(
        self,
        prompts: Sequence[Prompt],
        batches: Sequence[Sequence[Together]],
        strangers: Sequence[Sequence[Together]],
    ) -> tuple[list[list[Tensor]], Tensor]:
        """log ref of each page's completions, and z, by the policy as it is before the update.

        z is of each page of the whole batch with the completions of the next, its `strangers`; a batch of one page has
        no such pair, and z = 0.
        """
        temperature = self.recipe.rollout.temperature

        def said(reading: Reading, own: Sequence[Together]) -> list[Tensor]:
            return [totals(reading, batch, temperature)[:, 0] for batch in own]

        refs, far = [], []
        with self.reference.policy() as frozen:
            for prompt, own, others in zip(prompts, batches, strangers, strict=True):
                reading = Reading(frozen, prompt)
                refs.append(said(reading, own))
                far += [-ref for ref in said(reading, others)]
        now = [
            part
            for p, others in zip(prompts, strangers, strict=True)
            if others
            for part in said(Reading(self.policy, p), others)
        ]
        log_ratios = _over_processes([there + here for there, here in zip(now, far, strict=True)])
        return refs, kto_reference(log_ratios)


def _over_processes(parts: Sequence[Tensor]) -> Tensor:
    """Those of all processes in one, on the CPU; empty without any."""
    gathered = distributed.gather([part.cpu() for part in parts])
    return torch.cat(gathered) if gathered else torch.zeros(0)


def _mean(values: Tensor) -> float | None:
    return values.mean().item() if len(values) else None


LEARNERS: dict[str, type[Learner[Any]]] = {"dpo": Dpo, "orpo": Orpo, "kto": Kto}
"""By the recipe's `algorithm`."""

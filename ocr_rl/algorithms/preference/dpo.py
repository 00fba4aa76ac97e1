"""DPO and its variants: IPO, hinge, robust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from ocr_rl import distributed
from ocr_rl.algorithms.preference.learner import PairLearner
from ocr_rl.algorithms.preference.packing import PackedExamples, totals
from ocr_rl.config.schema import Recipe
from ocr_rl.data.images import ImageError
from ocr_rl.models.page_reader import PageReader
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import Prompt
from ocr_rl.models.reference import Reference
from ocr_rl.objectives.preference_losses import dpo_loss, implicit_rewards, log_ratio_margin
from ocr_rl.rewards.preferences import Pair

_Key = tuple[str, tuple[int, ...]]
"""Page id and token ids of a completion."""


class Dpo(PairLearner):
    """Direct Preference Optimization (arXiv 2305.18290), or one of its variants."""

    def __init__(self, policy: Policy, recipe: Recipe) -> None:
        super().__init__(policy, recipe)
        self.reference = Reference(policy) if recipe.dpo.reference == "live" else None
        self._ref_totals: dict[_Key, float] = {}
        """Log probabilities before training; used without a live reference."""
        self.average = recipe.dpo.length_average

    def begin(self, pages: Sequence[Sequence[Pair]]) -> Mapping[str, str]:
        """Without a live reference, a page that cannot be read now has none later."""
        if self.reference is not None:
            return {}
        unread: list[tuple[str, str]] = []
        found: list[tuple[_Key, float]] = []
        for pairs in tqdm(
            distributed.mine(pages), desc="reference", unit="page", leave=False, disable=not distributed.first()
        ):
            try:
                prompt = self.policy.prompt(pairs[0].page)
            except ImageError as error:
                unread.append((pairs[0].page.id, error.reason))
                continue
            batches = self.cut(pairs)
            for batch, values in zip(batches, self._totals(self.policy, prompt, batches), strict=True):
                for i, own in zip(batch.examples, values.tolist(), strict=True):
                    found += zip(_keys(pairs[i]), own, strict=True)
        self._ref_totals = dict(distributed.gather(found))
        return dict(distributed.gather(unread))

    def reference_totals(
        self, prompt: Prompt, pairs: Sequence[Pair], batches: Sequence[PackedExamples]
    ) -> list[Tensor]:
        if self.reference is not None:
            with self.reference.policy() as frozen:
                return self._totals(frozen, prompt, batches)
        found = [[[self._ref_totals[key] for key in _keys(pairs[i])] for i in batch.examples] for batch in batches]
        return [torch.tensor(own, device=self.policy.device) for own in found]

    @torch.no_grad()
    def _totals(self, policy: Policy, prompt: Prompt, batches: Sequence[PackedExamples]) -> list[Tensor]:
        reading, temperature = PageReader(policy, prompt), self.recipe.rollout.temperature
        return [totals(reading, batch, temperature, average=self.average) for batch in batches]

    def losses(self, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        dpo = self.recipe.dpo
        margin = log_ratio_margin(*logprobs.unbind(1), *ref_logprobs.unbind(1))
        return dpo_loss(margin, beta=dpo.beta, kind=dpo.loss, label_smoothing=dpo.label_smoothing)

    def rewards(self, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        return implicit_rewards(logprobs, ref_logprobs, beta=self.recipe.dpo.beta)


def _keys(pair: Pair) -> list[_Key]:
    return [(pair.page.id, tuple(completion.token_ids)) for completion in (pair.chosen, pair.rejected)]

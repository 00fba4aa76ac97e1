"""ORPO: odds-ratio preference optimization."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ocr_rl.algorithms.preference.learner import PairLearner
from ocr_rl.algorithms.preference.packing import PackedExamples
from ocr_rl.models.prompt import Prompt
from ocr_rl.objectives.preference_losses import orpo_loss
from ocr_rl.rewards.preferences import Pair


class Orpo(PairLearner):
    """Odds Ratio Preference Optimization (arXiv 2403.07691): likelihood of the chosen completion, no reference."""

    average = True

    def reference_totals(
        self, prompt: Prompt, pairs: Sequence[Pair], batches: Sequence[PackedExamples]
    ) -> list[Tensor]:
        return [torch.zeros(batch.rows.shape, device=self.policy.device) for batch in batches]

    def losses(self, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        chosen, rejected = logprobs.unbind(1)
        return orpo_loss(chosen, rejected, beta=self.recipe.orpo.beta)

    def rewards(self, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        return self.recipe.orpo.beta * logprobs

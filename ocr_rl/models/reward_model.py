"""A reward model: a policy's backbone and a head that scores completions of a page.

It is trained on differences of the score R between completions of one page. sigma(R) is the probability that it
prefers a completion to one of score 0, and the value that enters a reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.heads import ScalarHead
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.page_reader import PageReader
from ocr_rl.models.policy import Policy
from ocr_rl.types import Completion, Group

HEAD = Path("reward_head", "head.safetensors")
"""In the model's folder, one level below its weights: vLLM loads every *.safetensors beside config.json."""


class RewardModel:
    """R (B,) of completions: the head on the hidden state after a completion's last token."""

    def __init__(self, policy: Policy, head: ScalarHead) -> None:
        self.policy, self.head = policy, head.to(policy.device)

    @classmethod
    def load(
        cls,
        config: ModelConfig,
        device: str | torch.device | None = None,
        mesh: Any = None,
        *,
        offload: bool = False,
    ) -> RewardModel:
        """From a checkpoint of `ocr-rl train reward-model`. Raises ValueError if it is not one.

        See `Policy.load` for `mesh` and `offload`.
        """
        if not Path(config.path, HEAD).is_file():
            raise ValueError(
                f'reward.model "{config.path}" has no {HEAD}; give a checkpoint of `ocr-rl train reward-model`'
            )
        policy = Policy.load(config, device, mesh, offload=offload)
        policy.model.requires_grad_(False)
        return cls(policy, ScalarHead.load(Path(config.path, HEAD)).requires_grad_(False))

    def scores(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """
        Args:
            hidden: (B, T + 1, D) of the whole completions, see `Policy.hidden`.
            mask: (B, T) on the CPU, True for a completion's tokens.
        """
        rows, last = torch.arange(len(mask)), mask.sum(1)
        scores: Tensor = self.head(hidden[rows.to(hidden.device), last.to(hidden.device)])
        return scores

    @torch.no_grad()
    def rate(self, group: Group) -> list[float]:
        """sigma(R) of each completion; the page is read once for all."""
        ids, mask = padded(group.completions, self.policy.pad_id)
        reading = PageReader(self.policy, self.policy.prompt(group.page))
        ratings: list[float] = self.scores(reading.hidden(ids), mask).sigmoid().tolist()
        return ratings


def padded(completions: Sequence[Completion], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids and mask (B, T)."""
    return pad_rows([list(completion.token_ids) for completion in completions], pad_id)

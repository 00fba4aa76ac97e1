"""Scores the completions of a page, with gradient checkpointing or without."""

from __future__ import annotations

from torch import Tensor

from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import Prompt, TokenScores


class PageReader:
    """Reads a page once for all its completions, or with each of them, as gradient checkpointing requires."""

    def __init__(self, policy: Policy, prompt: Prompt, *, grad: bool = False) -> None:
        self.policy, self.prompt = policy, prompt
        self.state = policy.read(prompt, grad=grad) if policy.shares_prompt else None

    def score(self, ids: Tensor, mask: Tensor, temperature: float) -> TokenScores:
        """See `Policy.score`."""
        if self.state is None:
            return self.policy.score_unshared(self.prompt, ids, mask, temperature)
        return self.policy.score(self.state, ids, mask, temperature)

    def hidden(self, ids: Tensor) -> Tensor:
        """See `Policy.hidden`."""
        if self.state is None:
            return self.policy.hidden_unshared(self.prompt, ids)
        return self.policy.hidden(self.state, ids)

    def backward(self) -> None:
        """Propagate the gradients of all completions to the page; call it after the last of them."""
        if self.state is not None:
            self.state.backward()

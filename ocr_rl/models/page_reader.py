"""Scores the completions of a page, which is read once for all of them."""

from __future__ import annotations

from torch import Tensor

from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import Prompt, TokenScores


class PageReader:
    """A page that has been read, and its completions."""

    def __init__(self, policy: Policy, prompt: Prompt, *, grad: bool = False) -> None:
        self.policy, self.prompt = policy, prompt
        self.state = policy.read(prompt, grad=grad)

    def score(self, ids: Tensor, mask: Tensor, temperature: float) -> TokenScores:
        """See `Policy.score`."""
        return self.policy.score(self.state, ids, mask, temperature)

    def hidden(self, ids: Tensor) -> Tensor:
        """See `Policy.hidden`."""
        return self.policy.hidden(self.state, ids)

    def backward(self) -> None:
        """Propagate the gradients of all completions to the page; call it after the last of them."""
        self.state.backward()

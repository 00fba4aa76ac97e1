"""Scores the completions of a page, which is read once for all of them."""

from __future__ import annotations

from torch import Tensor

from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import Prompt, TokenScores


class PageReader:
    """A page that has been read, and its completions."""

    def __init__(self, policy: Policy, prompt: Prompt, *, grad: bool = False) -> None:
        self.policy, self.prompt = policy, prompt
        self.state = (policy.shards or policy).read(prompt, grad=grad)

    def score(self, ids: Tensor, mask: Tensor, temperature: float) -> TokenScores:
        """See `Policy.score`."""
        return self.policy.score_hidden(self.hidden(ids[:, :-1], scored=True), ids, mask, temperature)

    def hidden(self, ids: Tensor, *, scored: bool = False) -> Tensor:
        """See `Policy.hidden`. With `scored`, `Policy.score_hidden` is called with some of them next."""
        if self.policy.shards is not None:
            return self.policy.shards.hidden(self.state, ids, scored=scored)
        return self.policy.hidden(self.state, ids)

    def backward(self) -> None:
        """Propagate the gradients of all completions to the page; call it after the last of them."""
        if self.policy.shards is not None:
            self.policy.shards.close(self.state)
        else:
            self.state.backward()

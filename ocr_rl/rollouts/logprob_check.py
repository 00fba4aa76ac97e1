"""Checks that an engine samples from the policy's distribution: the trainer scores a completion too."""

from __future__ import annotations

import torch

from ocr_rl import distributed
from ocr_rl.errors import EngineError
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.page_reader import PageReader
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.types import Completion, Page

CHECK_SAMPLING = Sampling(group_size=1, temperature=1.0, max_tokens=16)
"""How the check after a sync samples; `max_tokens` is also how much of a completion is compared."""
DEFAULT_TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 0.05}
"""Mean absolute difference between the engine's log probabilities and the trainer's that rounding can cause."""


class LogprobCheck:
    """Compares the engine's log probabilities with the trainer's, for one completion after each sync.

    Attributes:
        known_page: a page that the engine has read, None before the first: caches of it must not survive a sync.
    """

    def __init__(self, policy: Policy, tolerance: float | None, advice: str) -> None:
        """`tolerance` None takes the dtype's of DEFAULT_TOLERANCES; `advice` ends the error message."""
        self.known_page: Page | None = None
        self._policy, self._advice = policy, advice
        self._tolerance = DEFAULT_TOLERANCES[policy.compute_dtype] if tolerance is None else tolerance
        self._passed = False

    def restart(self, policy: Policy) -> None:
        """Check the next completion against this policy."""
        self._policy, self._passed = policy, False

    def see(self, page: Page, completion: Completion, temperature: float, *, again: bool = False) -> None:
        """Take note of a completion; the first since the last sync is checked, and with `again` any.

        Raises:
            EngineError: its log probabilities differ by more than the tolerance.
        """
        self.known_page = page
        if (self._passed or distributed.is_aside()) and not again:  # aside, the policy may be training
            return
        mismatch = logprob_mismatch(self._policy, page, completion, temperature, self._tolerance)
        if mismatch is not None:
            raise EngineError(mismatch + self._advice)
        self._passed = True


def logprob_mismatch(
    policy: Policy, page: Page, completion: Completion, temperature: float, tolerance: float
) -> str | None:
    """What is wrong with a completion; None if the mean difference over its first tokens is within the tolerance."""
    length = min(CHECK_SAMPLING.max_tokens, len(completion.token_ids))
    ids, mask = pad_rows([list(completion.token_ids[:length])], policy.pad_id)
    with torch.no_grad():
        reading = PageReader(policy, policy.prompt(page))
        scored = reading.score(ids, mask, temperature or 1.0).logprobs[0].cpu()
    difference = (scored - torch.tensor(completion.sampling_logprobs[:length])).abs().mean().item()
    if difference <= tolerance:  # False for NaN
        return None
    return (
        f"{page.id}: the engine's log probabilities differ from the trainer's by {difference:.2g} on average, more "
        f"than {tolerance:g}. It may sample from old weights (an encoder or prefix cache that was not reset, an "
        "output head that is tied to the embedding and packed), from another model, from pixels of another size, in "
        "another precision or at another temperature"
    )

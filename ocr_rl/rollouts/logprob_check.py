"""Whether an engine samples from the policy's distribution: one completion, scored by both."""

from __future__ import annotations

import torch

from ocr_rl.models.padding import pad_rows
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.types import Completion, Page

PROBE = Sampling(group_size=1, temperature=1.0, max_tokens=16)
"""What is sampled for it after a sync, and how much of a completion is scored."""
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 0.05}
"""Mean absolute difference between the engine's log probabilities and the trainer's that rounding may cause."""


def logprob_mismatch(
    policy: Policy, page: Page, completion: Completion, temperature: float, tolerance: float
) -> str | None:
    """What is wrong with a completion; None if the mean difference over its beginning is within the tolerance."""
    length = min(PROBE.max_tokens, len(completion.token_ids))
    ids, mask = pad_rows([list(completion.token_ids[:length])], policy.pad_id)
    with torch.no_grad():
        state = policy.read(policy.prompt(page))
        scored = policy.score(state, ids, mask, temperature or 1.0).logprobs[0].cpu()
    off = (scored - torch.tensor(completion.sampling_logprobs[:length])).abs().mean().item()
    if off <= tolerance:  # not so if it is NaN
        return None
    return (
        f"{page.id}: the engine's log probabilities are {off:.2g} off the trainer's in the mean, more than "
        f"{tolerance:g}. It may sample from old weights (an encoder or prefix cache that was not reset, an output "
        "head tied to the embedding and packed), from another model, from pixels of another size, in another "
        "precision or at another temperature"
    )

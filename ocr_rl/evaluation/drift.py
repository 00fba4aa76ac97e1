"""How far training has moved a policy, measured the same way for every algorithm: on the policy's own samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ocr_rl.models.padding import pad_rows
from ocr_rl.models.policy import Policy
from ocr_rl.objectives.policy_losses import kl_estimate
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.types import Page


@torch.no_grad()
def drift(policy: Policy, start: Policy, pages: Sequence[Page], max_tokens: int, seed: int = 0) -> dict[str, float]:
    """Measured on one completion of each page, sampled at temperature 1; in nats per token, means over tokens:

    entropy   of the policy
    kl        KL(policy || start) as k3 estimates it (http://joschu.net/blog/kl-approx.html)
    """
    groups = TransformersEngine(policy).generate(pages, Sampling(1, 1.0, max_tokens), seed)
    entropy = kl = tokens = 0.0
    for group in groups:
        prompt = policy.prompt(group.page)
        ids, mask = pad_rows([list(group.completions[0].token_ids)], policy.pad_id)
        own = policy.score(policy.read(prompt), ids, mask, 1.0)
        ref = start.score(start.read(prompt), ids, mask, 1.0)
        tokens += mask.sum().item()
        entropy += own.entropy.sum().item()
        kl += kl_estimate(own.logprobs, ref.logprobs, "k3").sum().item()
    return {"entropy": entropy / tokens, "kl": kl / tokens}

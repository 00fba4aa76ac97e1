"""Log probabilities of tokens and the entropy of their distributions."""

from __future__ import annotations

import torch
from torch import Tensor


def token_logprobs(logits: Tensor, token_ids: Tensor) -> Tensor:
    """log softmax(logits)[token] in float32: (..., V), (...) -> (...)."""
    logits = logits.float()
    chosen = logits.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1)
    return chosen - logits.logsumexp(-1)


def entropy(logits: Tensor) -> Tensor:
    """-sum p log p of softmax(logits), in nats: (..., V) -> (...). A logit of -inf contributes 0."""
    logprobs = torch.log_softmax(logits.float(), -1)
    return -torch.where(logprobs.isfinite(), logprobs.exp() * logprobs, 0.0).sum(-1)

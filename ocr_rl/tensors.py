"""Small tensor operations that the losses and the policy share.

Shapes: B completions, T completion tokens, V vocabulary. A mask is True where a token counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over all masked-in entries; what stands elsewhere, NaN included, does not matter."""
    return torch.where(mask, values, 0.0).sum()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over all masked-in entries; 0 for an empty mask."""
    return masked_sum(values, mask) / mask.sum().clamp(min=1)


def token_logprobs(logits: Tensor, token_ids: Tensor) -> Tensor:
    """log softmax(logits)[token] in float32: (..., V), (...) -> (...)."""
    logits = logits.float()
    chosen = logits.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1)
    return chosen - logits.logsumexp(-1)


def entropy(logits: Tensor) -> Tensor:
    """-sum p log p of softmax(logits), in nats: (..., V) -> (...). A logit of -inf has no share."""
    logprobs = torch.log_softmax(logits.float(), -1)
    return -torch.where(logprobs.isfinite(), logprobs.exp() * logprobs, 0.0).sum(-1)


def pad_rows(rows: Sequence[Sequence[int] | Sequence[float]], value: float) -> tuple[Tensor, Tensor]:
    """Rows of tokens, or of what belongs to them -> (B, T) padded on the right with `value`, and their mask (B, T)."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), value)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = True
    return ids, mask

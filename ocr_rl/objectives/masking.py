"""Sums and means over masked tensors, (B, T). A mask is True where a token counts."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over the entries where the mask is True; the others, even NaN, do not matter."""
    return torch.where(mask, values, 0.0).sum()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the entries where the mask is True; 0 for an empty mask."""
    return masked_sum(values, mask) / mask.sum().clamp(min=1)

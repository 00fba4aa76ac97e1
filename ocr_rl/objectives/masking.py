"""Small tensor operations that the losses and the policy share.

Shapes: B completions, T completion tokens, V vocabulary. A mask is True where a token counts.
"""

from __future__ import annotations

import torch
from torch import Tensor


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over all masked-in entries; what stands elsewhere, NaN included, does not matter."""
    return torch.where(mask, values, 0.0).sum()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over all masked-in entries; 0 for an empty mask."""
    return masked_sum(values, mask) / mask.sum().clamp(min=1)

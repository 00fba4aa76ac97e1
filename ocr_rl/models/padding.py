"""Pads rows of different lengths to one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pad_rows(rows: Sequence[Sequence[int] | Sequence[float]], value: float) -> tuple[Tensor, Tensor]:
    """Rows of token ids, or of one number per token -> (B, T) padded on the right with `value`, and a mask (B, T)."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), value)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = True
    return ids, mask

"""Rows of different lengths as one padded tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pad_rows(rows: Sequence[Sequence[int] | Sequence[float]], value: float) -> tuple[Tensor, Tensor]:
    """Rows of tokens, or of what belongs to them -> (B, T) padded on the right with `value`, and their mask (B, T)."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), value)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = True
    return ids, mask

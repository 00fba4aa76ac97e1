"""Advantages of single tokens from what each of them costs in edits. Pure functions.

Shapes: deltas, mask, positions of a page's completions (G, T); T differs from page to page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ocr_rl.objectives.returns import rewards_to_go

Baseline = Literal["batch", "group", "position"]


@torch.no_grad()
def alignment_advantages(
    deltas: Sequence[Tensor],
    masks: Sequence[Tensor],
    positions: Sequence[Tensor],
    *,
    lam: float = 0.0,
    cap: float = 0.0,
    baseline: Baseline = "batch",
    eps: float = 1e-4,
) -> list[Tensor]:
    """A_t = (c_t - b) / (std(c) + eps), c_t = sum_k lam^k delta_(t+k), for each page of a batch: (G, T), 0 at pads.

    delta_t is the exact advantage of token t when the best continuation follows, so lam = 0 is the token's own regret;
    lam = 1 is the reward to go. std is over all tokens of the batch.

    Args:
        deltas: 0 or less; minus the edits that each token made unavoidable.
        cap: a token pays for at most this many edits; 0: for all.
        baseline: b, the mean of c over the batch, over the page's completions, or over those of the page's tokens that
            stand at the same position of the reference.
    """
    capped = [delta.clamp(min=-cap) if cap else delta for delta in deltas]
    credit = [rewards_to_go(delta, mask, lam) for delta, mask in zip(capped, masks, strict=True)]
    tokens = torch.cat([c[mask] for c, mask in zip(credit, masks, strict=True)])
    scale = (tokens.std() if len(tokens) > 1 else tokens.new_zeros(())) + eps
    if baseline == "batch":
        centred = [c - tokens.mean() for c in credit]
    elif baseline == "group":
        centred = [c - c[mask].mean() for c, mask in zip(credit, masks, strict=True)]
    else:
        centred = [c - _mean_at(c, m, p) for c, m, p in zip(credit, masks, positions, strict=True)]
    return [torch.where(mask, c / scale, 0.0) for c, mask in zip(centred, masks, strict=True)]


@torch.no_grad()
def mixed_advantages(sequence: Tensor, by_token: Sequence[tuple[float, Tensor]], mask: Tensor) -> Tensor:
    """A + sum_k w_k A_k: (G,) and pairs of a weight and (G, T) -> (G, T), 0 at pads.

    Args:
        sequence: A, of what each completion earns beside what its tokens do, on the scale of the whole reward.
        by_token: w_k, the share of the reward that is paid to tokens, and their advantages A_k.
    """
    mixed = sequence[:, None].expand(mask.shape)
    for weight, advantages in by_token:
        mixed = mixed + weight * advantages
    return torch.where(mask, mixed, 0.0)


def _mean_at(credit: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    """(G, T): for each token, the mean over all tokens of the page at its position."""
    found: dict[int, list[float]] = defaultdict(list)
    for position, value in zip(positions[mask].tolist(), credit[mask].tolist(), strict=True):
        found[position].append(value)
    means = {position: sum(values) / len(values) for position, values in found.items()}
    result = torch.zeros_like(credit)
    result[mask] = torch.tensor([means[position] for position in positions[mask].tolist()], dtype=credit.dtype)
    return result

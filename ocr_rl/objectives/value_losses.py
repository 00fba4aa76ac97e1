"""The loss of PPO's critic and metrics of its quality. Tensors in, tensors out.

Shapes: values, old_values, returns (B, T); completion_mask (B, T), True = trained on. V_t is the return that the critic
expects before token t is chosen. A micro-batch's loss is a sum over its own tokens divided by the tokens of the whole
optimiser step. Advantages and returns come from `returns.token_advantages`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ocr_rl.objectives.masking import masked_mean, masked_sum


def value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    completion_mask: Tensor,
    tokens: int,
    *,
    clip: float | None = 0.2,
) -> Tensor:
    """L = 1/2 mean_t max((V - R)^2, (clip(V, V_old - eps, V_old + eps) - R)^2), this micro-batch's share of it.

    PPO (arXiv 1707.06347) has the squared error alone, `clip=None`; the clip and the factor 1/2 are from its first
    implementation. A V outside V_old +- eps that is nearer to R than the clipped value has no gradient.

    Args:
        values: of the current critic, with gradient.
        old_values: of the critic when the rollout was scored.
        returns: A + V_old, without gradient.
        tokens: trained tokens of the whole optimiser step.
    """
    pads = ~completion_mask  # set to 0 first: the gradient of NaN^2 is NaN even if it is masked afterwards
    values, returns = values.masked_fill(pads, 0.0), returns.masked_fill(pads, 0.0)
    squares = (values - returns).square()
    if clip is not None:
        old_values = old_values.masked_fill(pads, 0.0)
        squares = torch.maximum(squares, (values.clamp(old_values - clip, old_values + clip) - returns).square())
    return masked_sum(squares, completion_mask) / (2 * max(tokens, 1))


@torch.no_grad()
def value_clip_fraction(
    values: Tensor, old_values: Tensor, returns: Tensor, completion_mask: Tensor, *, clip: float
) -> Tensor:
    """Share of trained tokens whose gradient the clip removes; a metric."""
    clipped = values.clamp(old_values - clip, old_values + clip)
    worse = (clipped - returns).square() > (values - returns).square()
    return masked_mean(worse.to(values.dtype), completion_mask)


@torch.no_grad()
def explained_variance(values: Tensor, returns: Tensor, completion_mask: Tensor) -> Tensor:
    """1 - Var(R - V) / Var(R) over the trained tokens of the whole batch; a metric.

    1: V predicts every return up to a constant; 0: V is no better than a constant, or the returns do not vary; below 0:
    worse than a constant.
    """
    variance = _variance(returns, completion_mask)
    unexplained = _variance(returns - values, completion_mask) / variance
    return torch.where(variance > 0, 1 - unexplained, 0.0)


def _variance(values: Tensor, mask: Tensor) -> Tensor:
    return masked_mean((values - masked_mean(values, mask)).square(), mask)

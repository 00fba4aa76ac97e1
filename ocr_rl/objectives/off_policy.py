"""Sampling with one engine and training with another: importance weights, and how far the two differ.

An inference engine and the trainer give the same token slightly different probabilities (kernels, precision, stale
weights), so samples are off policy even before the first update. With d = log pi - log mu of a sampled token, pi the
trainer's policy before the update and mu the distribution that the engine sampled from, rho = exp(d) is the importance
ratio.

Shapes: logprobs, sampling_logprobs, weights (B, T); mask (B, T), True = trained on. Nothing here has a gradient.
A token whose sampling log probability the engine does not know has NaN there, and d = 0.

What this is not: there is no product of the ratios over a completion. Its effective sample size vanishes on page-long
text: token noise of 0.02 leaves 0.2 of it at 4,096 tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ocr_rl.objectives.masking import masked_sum

Correction = Literal["none", "token", "token_mask", "sequence_mask"]


@torch.no_grad()
def sampling_weights(logprobs: Tensor, sampling_logprobs: Tensor, mask: Tensor, kind: Correction, cap: float) -> Tensor:
    """Weights (B, T) of the per-token surrogate that correct for sampling from mu instead of pi.

    none:           1
    token:          min(rho_t, cap)         truncated importance sampling (Ionides, 2008; Yao et al., 2025, for engines)
    token_mask:     rho_t if 1 / cap <= rho_t <= cap, else 0: IcePop (Ling Team, "Every step evolves", arXiv 2510.18855)
    sequence_mask:  1 if 1 / cap <= exp(mean_t d_t) <= cap, else 0, for the whole completion: geometric rejection
                    sampling, which filters and does not reweight (Liu, Li et al., "When Speed Kills Stability", 2025,
                    part 3). Unlike a product, the mean does not depend on the length.

    A rejected completion still counts in the loss's denominators, like one with advantage 0. Tokens that are not
    trained on have weight 1, except those of a rejected completion.

    Args:
        logprobs: of the trainer before the update, at the sampling temperature.
        sampling_logprobs: of the engine.
        cap: the largest ratio, at least 1; 2 is usual for both kinds.
    """
    assert cap >= 1, f"the cap of an importance ratio is {cap}; it must be at least 1"
    d = log_ratios(logprobs, sampling_logprobs, mask)
    if kind == "none":
        return torch.ones_like(d)
    if kind == "token":
        return d.exp().clamp(max=cap)
    if kind == "token_mask":
        return torch.where((d.exp() >= 1 / cap) & (d.exp() <= cap), d.exp(), 0.0)
    geometric_mean = (d.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)).exp()
    return ((geometric_mean >= 1 / cap) & (geometric_mean <= cap)).to(d.dtype).expand_as(d)


def log_ratios(logprobs: Tensor, sampling_logprobs: Tensor, mask: Tensor) -> Tensor:
    """d = log pi - log mu (B, T); 0 where it is NaN or the token is not trained on."""
    d = torch.where(mask, logprobs - sampling_logprobs, 0.0)
    return torch.where(d.isnan(), 0.0, d)


@dataclass(frozen=True)
class MismatchSums:
    """What the metrics need from a micro-batch, all scalars. Micro-batches add up with `+`."""

    tokens: Tensor
    """Tokens trained on."""
    compared: Tensor
    """Those whose sampling log probability is known."""
    kl: Tensor
    """Sum of exp(d) - d - 1 over the compared tokens."""
    largest: Tensor
    """Largest |d|; `+` takes the maximum."""
    weight: Tensor
    """Sum of the weights w."""
    squared_weight: Tensor
    """Sum of w^2."""

    def __add__(self, other: MismatchSums) -> MismatchSums:
        return MismatchSums(
            self.tokens + other.tokens,
            self.compared + other.compared,
            self.kl + other.kl,
            torch.maximum(self.largest, other.largest),
            self.weight + other.weight,
            self.squared_weight + other.squared_weight,
        )


@torch.no_grad()
def mismatch_sums(logprobs: Tensor, sampling_logprobs: Tensor, mask: Tensor, weights: Tensor) -> MismatchSums:
    """Compare the trainer with the engine; `weights` are those of `sampling_weights`."""
    d = log_ratios(logprobs, sampling_logprobs, mask)
    return MismatchSums(
        tokens=mask.sum(),
        compared=(mask & ~(logprobs - sampling_logprobs).isnan()).sum(),
        kl=(d.expm1() - d).sum(),  # expm1, because d is often below float32's resolution near 1
        largest=d.abs().max() if d.numel() else d.sum(),
        weight=masked_sum(weights, mask),
        squared_weight=masked_sum(weights.square(), mask),
    )


def mismatch_metrics(sums: MismatchSums) -> dict[str, float]:
    """Metrics to log. N is the number of tokens trained on; without any, all are 0.

    mismatch/kl:      mean of exp(d) - d - 1 over the compared tokens, the k3 estimate of KL(mu || pi) from mu's samples
    mismatch/max:     max |d|
    mismatch/ess:     (sum w)^2 / (N sum w^2), the effective sample size (Kong, 1992) as a share of the tokens: 1 if all
                      weights are equal, the kept share if completions are rejected, 0 if nothing is kept
    mismatch/weight:  sum w / N
    """
    parts = [sums.tokens, sums.compared, sums.kl, sums.largest, sums.weight, sums.squared_weight]
    tokens, compared, kl, largest, weight, squared_weight = torch.stack(parts).tolist()
    return {
        "mismatch/kl": kl / max(compared, 1),
        "mismatch/max": largest,
        "mismatch/ess": weight**2 / (tokens * squared_weight) if squared_weight else 0.0,
        "mismatch/weight": weight / max(tokens, 1),
    }

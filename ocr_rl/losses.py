"""Policy-gradient losses. Tensors and numbers in, tensors out; metrics apart.

Shapes: logprobs, old_logprobs, ref_logprobs (B, T) of the sampled tokens; advantages (B,); completion_mask (B, T),
True = trained on. A micro-batch's losses are sums over its own completions divided by counts of the whole
optimiser step, so that splitting a batch does not change its gradient.

What this GRPO is not: it has no critic, no reward model, and (by default) no KL term.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ocr_rl.tensors import masked_mean, masked_sum

Normalizer = Literal["token", "sequence", "constant"]
Ratio = Literal["token", "sequence"]
KL = Literal["k1", "k2", "k3"]


@dataclass(frozen=True)
class StepCounts:
    """What the sums of an optimiser step are divided by: counted once, over all its micro-batches."""

    tokens: int
    """Completion tokens trained on."""
    completions: int
    """Completions B, those without a trained token included."""
    max_tokens: int
    """The token limit of a completion: the constant of the `constant` normaliser."""


def importance_ratio(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, level: Ratio) -> Tensor:
    """pi(o_t) / pi_old(o_t): (B, T) per token, or (B, 1) as the geometric mean over the sequence.

    `sequence` is GSPO's s_i(theta) = (pi(o_i) / pi_old(o_i))^(1 / |o_i|) (arXiv 2507.18071, eq. 7).
    """
    log_ratio = torch.where(mask, logprobs - old_logprobs, 0.0)
    if level == "sequence":
        log_ratio = log_ratio.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    return log_ratio.exp()


def clipped_surrogate(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """-min(rho A, clip(rho, 1 - eps_low, 1 + eps_high) A), the PPO clip with DAPO's two bounds.

    PPO (arXiv 1707.06347) eq. 7; DAPO (arXiv 2503.14476) eq. 10. (B, T) or (B, 1), like `ratio`.
    """
    advantages = advantages.unsqueeze(1)
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def kl_estimate(logprobs: Tensor, ref_logprobs: Tensor, estimator: KL) -> Tensor:
    """Per-token estimate of KL(pi || ref) from tokens sampled from pi; (B, T).

    With d = log ref - log pi (Schulman, "Approximating KL divergence", 2020):
        k1 = -d               unbiased, may be negative
        k2 = d^2 / 2          biased, low variance
        k3 = exp(d) - d - 1   unbiased, never negative; DeepSeekMath's eq. 4
    """
    d = ref_logprobs - logprobs
    if estimator == "k1":
        return -d
    if estimator == "k2":
        return d.square() / 2
    return d.exp() - d - 1


def aggregate(values: Tensor, mask: Tensor, normalizer: Normalizer, counts: StepCounts) -> Tensor:
    """(B, T) per-token losses -> this micro-batch's share of the step's scalar loss.

    token:    sum / tokens of the step                        DAPO: every token weighs the same
    sequence: sum over completions of (mean over its tokens) / completions      DeepSeekMath, eq. 3
    constant: sum / (completions * max_tokens)                Dr. GRPO: no length in the denominator
    """
    if normalizer == "token":
        return masked_sum(values, mask) / max(counts.tokens, 1)
    if normalizer == "sequence":
        per_completion = torch.where(mask, values, 0.0).sum(1) / mask.sum(1).clamp(min=1)
        return per_completion.sum() / counts.completions
    return masked_sum(values, mask) / (counts.completions * counts.max_tokens)


def grpo_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    completion_mask: Tensor,
    counts: StepCounts,
    *,
    ref_logprobs: Tensor | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    normalizer: Normalizer = "token",
    ratio: Ratio = "token",
    beta: float = 0.0,
    kl: KL = "k3",
) -> Tensor:
    """L = agg[ -min(rho A, clip(rho) A) + beta KL(pi || ref) ], this micro-batch's share of it.

    DeepSeekMath (arXiv 2402.03300) eq. 3 with normalizer="sequence" and beta > 0; DAPO with clip_high > clip_low;
    Dr. GRPO with normalizer="constant"; GSPO with ratio="sequence", normalizer="sequence".

    Args:
        logprobs: (B, T) of the current policy, with gradient, at the sampling temperature.
        old_logprobs: (B, T) of the policy that sampled. At one update per batch they are logprobs.detach().
        advantages: (B,).
        completion_mask: (B, T), True for tokens trained on, the end token among them.
        ref_logprobs: (B, T), needed when beta > 0.
    """
    rho = importance_ratio(logprobs, old_logprobs, completion_mask, ratio)
    per_token = clipped_surrogate(rho, advantages, clip_low, clip_high).expand_as(logprobs)
    if beta:
        assert ref_logprobs is not None, "beta > 0 needs ref_logprobs"
        pads = ~completion_mask  # set to 0 first: the gradient of exp(inf), masked afterwards, is 0 * inf
        per_token = per_token + beta * kl_estimate(
            logprobs.masked_fill(pads, 0.0), ref_logprobs.masked_fill(pads, 0.0), kl
        )
    return aggregate(per_token, completion_mask, normalizer, counts)


@torch.no_grad()
def clip_fraction(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    completion_mask: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    ratio: Ratio,
) -> Tensor:
    """Share of trained tokens whose gradient the clip removes. A metric; takes part in no loss."""
    rho = importance_ratio(logprobs, old_logprobs, completion_mask, ratio)
    above = (rho > 1 + clip_high) & (advantages.unsqueeze(1) > 0)
    below = (rho < 1 - clip_low) & (advantages.unsqueeze(1) < 0)
    return masked_mean((above | below).expand_as(logprobs).float(), completion_mask)

"""Policy-gradient losses. Tensors and numbers in, tensors out; metrics are separate functions.

Shapes: logprobs, old_logprobs, ref_logprobs (B, T) of the sampled tokens; advantages (B,), or (B, T) if each token has
its own (PPO, reward to go); completion_mask (B, T), True = trained on. A micro-batch's loss is a sum over its own
completions divided by counts of the whole optimiser step, so dividing a batch does not change its gradient.

What `grpo_loss` is not: it has no critic, no reward model, and by default no KL term.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ocr_rl.objectives.masking import masked_mean, masked_sum

Normalizer = Literal["token", "sequence", "constant"]
Ratio = Literal["token", "sequence", "product"]
Surrogate = Literal["clip", "cispo", "reinforce"]
KL = Literal["k1", "k2", "k3"]


@dataclass(frozen=True)
class StepCounts:
    """The denominators of an optimiser step, counted over all its micro-batches."""

    tokens: int
    """Completion tokens trained on."""
    completions: int
    """Completions B, including those without trained tokens."""
    max_tokens: int
    """The token limit of a completion, used by the `constant` normaliser."""


def importance_ratio(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, level: Ratio) -> Tensor:
    """pi(o_t) / pi_old(o_t): (B, T) per token, or (B, 1) over the sequence.

    sequence: (pi(o_i) / pi_old(o_i))^(1 / |o_i|), the geometric mean, GSPO's s_i(theta) (arXiv 2507.18071, eq. 7)
    product:  pi(o_i) / pi_old(o_i), the completion as one action, as RLOO sees it (arXiv 2402.14740)
    """
    log_ratio = torch.where(mask, logprobs - old_logprobs, 0.0)
    if level != "token":
        log_ratio = log_ratio.sum(1, keepdim=True)
    if level == "sequence":
        log_ratio = log_ratio / mask.sum(1, keepdim=True).clamp(min=1)
    return log_ratio.exp()


def clipped_surrogate(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """-min(rho A, clip(rho, 1 - eps_low, 1 + eps_high) A), the PPO clip with DAPO's two bounds.

    PPO (arXiv 1707.06347) eq. 7; DAPO (arXiv 2503.14476) eq. 10. (B, T) or (B, 1).
    """
    advantages = _by_token(advantages)
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def cispo_surrogate(ratio: Tensor, logprobs: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """-sg(clip(rho, 1 - eps_low, 1 + eps_high)) A log pi: clips the weight, so no token loses its gradient. (B, T).

    CISPO (MiniMax-M1, arXiv 2506.13585) eq. 4 and 5, sg = stop gradient. The paper has no lower bound: clip_low = 1.
    The largest weight, eps_max in TRL and ScaleRL, is 1 + clip_high.
    """
    weight = ratio.clamp(1 - clip_low, 1 + clip_high).detach()
    return -weight * _by_token(advantages) * logprobs


def reinforce_surrogate(logprobs: Tensor, advantages: Tensor) -> Tensor:
    """-A log pi, whose gradient is REINFORCE's (Williams, 1992): no ratio, no clip, correct only on policy. (B, T)."""
    return -_by_token(advantages) * logprobs


def _by_token(advantages: Tensor) -> Tensor:
    return advantages.unsqueeze(1) if advantages.ndim == 1 else advantages


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


def adapted_kl_coefficient(beta: float, kl: float, target: float, gain: float = 0.1) -> float:
    """The next step's beta, which moves the KL per completion towards `target`.

    e = clip((KL - target) / target, -0.2, 0.2), beta' = beta (1 + K e) with K = gain: Ziegler et al., 2019
    (arXiv 1909.08593), section 2.2.

    Args:
        beta: this step's.
        kl: measured in this step, in the unit of `target`.
    """
    assert target > 0, f"the target of the KL is {target}; it must be above 0"
    error = min(max((kl - target) / target, -0.2), 0.2)
    return beta * (1 + gain * error)


def aggregate(values: Tensor, mask: Tensor, normalizer: Normalizer, counts: StepCounts) -> Tensor:
    """(B, T) per-token losses -> this micro-batch's share of the step's scalar loss.

    token:    sum / tokens of the step                        DAPO: every token has the same weight
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
    weights: Tensor | None = None,
    surrogate: Surrogate = "clip",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    normalizer: Normalizer = "token",
    ratio: Ratio = "token",
    beta: float = 0.0,
    kl: KL = "k3",
) -> Tensor:
    """L = agg[ w surrogate(rho, A) + beta KL(pi || ref) ], this micro-batch's share of it.

    The surrogate is -min(rho A, clip(rho) A) by default; w = 1 unless `weights` are given.

    GRPO        DeepSeekMath (arXiv 2402.03300) eq. 3: normalizer="sequence" and beta > 0
    DAPO        (arXiv 2503.14476) clip_high > clip_low
    Dr. GRPO    (arXiv 2503.20783) normalizer="constant"
    BNPO        as in TRL: normalizer="token" with the counts of the micro-batch
    GSPO        (arXiv 2507.18071) ratio="sequence", normalizer="sequence"
    CISPO       (arXiv 2506.13585) surrogate="cispo", clip_low=1
    RLOO        (arXiv 2402.14740) ratio="product", normalizer="sequence", with leave-one-out advantages
    REINFORCE   (Williams, 1992) surrogate="reinforce"
    PPO         (arXiv 1707.06347) with the advantages of a critic, (B, T)

    Args:
        logprobs: (B, T) of the current policy, with gradient, at the sampling temperature.
        old_logprobs: (B, T) of the policy that sampled. With one update per batch they are logprobs.detach().
        advantages: (B,) or (B, T).
        completion_mask: (B, T), True for tokens trained on, the end token among them.
        ref_logprobs: (B, T), needed when beta > 0.
        weights: (B, T), corrections for the engine's sampling (`off_policy.sampling_weights`); not of the KL term.
    """
    pads = ~completion_mask
    if advantages.ndim == 2:
        advantages = advantages.masked_fill(pads, 0.0)
    if surrogate == "reinforce":
        per_token = reinforce_surrogate(logprobs, advantages)
    else:
        rho = importance_ratio(logprobs, old_logprobs, completion_mask, ratio)
        if surrogate == "cispo":
            per_token = cispo_surrogate(rho, logprobs, advantages, clip_low, clip_high)
        else:
            per_token = clipped_surrogate(rho, advantages, clip_low, clip_high).expand_as(logprobs)
    if weights is not None:
        per_token = per_token * weights.masked_fill(pads, 0.0)
    if beta:
        assert ref_logprobs is not None, "beta > 0 needs ref_logprobs"
        # pads are set to 0 first: the gradient of exp(inf), masked afterwards, is 0 * inf
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
    """Share of trained tokens whose gradient the clip removes; a metric."""
    rho = importance_ratio(logprobs, old_logprobs, completion_mask, ratio)
    advantages = _by_token(advantages)
    above = (rho > 1 + clip_high) & (advantages > 0)
    below = (rho < 1 - clip_low) & (advantages < 0)
    return masked_mean((above | below).expand_as(logprobs).float(), completion_mask)

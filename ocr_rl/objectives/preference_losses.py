"""Preference losses: one transcription of a page is better than another, or a transcription is good or bad.

Each function returns one loss per pair or example, (B,). A trainer sums them over a micro-batch and divides by the
pairs of the whole optimiser step, so dividing a batch does not change its gradient.

Notation: y_w chosen, y_l rejected; log pi(y) the sum of a completion's token log probabilities (`sequence_logprobs`);
r = log pi(y) - log ref(y), the log ratio to a frozen reference; h = r_w - r_l, the margin.

What this is not: there is no divergence but the reverse KL that DPO assumes.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

PairLoss = Literal["sigmoid", "robust", "hinge", "ipo"]


def sequence_logprobs(logprobs: Tensor, mask: Tensor, *, average: bool = False) -> Tensor:
    """sum_t log pi(y_t), or with `average` the mean over the tokens: (B, T), mask (B, T) -> (B,); 0 without tokens."""
    total = torch.where(mask, logprobs, 0.0).sum(1)
    return total / mask.sum(1).clamp(min=1) if average else total


def log_ratio_margin(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor) -> Tensor:
    """h = (log pi(y_w) - log ref(y_w)) - (log pi(y_l) - log ref(y_l)): four times (B,) -> (B,)."""
    return (chosen - ref_chosen) - (rejected - ref_rejected)


def dpo_loss(margin: Tensor, *, beta: float = 0.1, kind: PairLoss = "sigmoid", label_smoothing: float = 0.0) -> Tensor:
    """The loss of a pair from its margin h; eps = `label_smoothing` is the share of pairs that are labelled wrongly.

    sigmoid: -(1 - eps) log sigma(beta h) - eps log sigma(-beta h)      DPO (arXiv 2305.18290) eq. 7 at eps = 0;
             conservative DPO (Mitchell, 2023) at eps > 0, with its minimum at sigma(beta h) = 1 - eps
    robust:  the same with -eps for eps in the second term, divided by 1 - 2 eps      its mean over wrong labels is
             DPO's loss on the right ones (Chowdhury et al., 2024, arXiv 2403.00409)
    hinge:   max(0, 1 - beta h)       SLiC's hinge (arXiv 2305.10425) on log ratios, as in RSO (arXiv 2309.06657)
    ipo:     (h - 1 / (2 beta))^2     IPO (arXiv 2310.12036) eq. 17, beta its tau. The margin is of summed log
             probabilities in the paper, of averaged ones in TRL: `sequence_logprobs(..., average=True)`

    Args:
        margin: (B,), from `log_ratio_margin`.
        label_smoothing: in [0, 1/2); sigmoid and robust only.
    """
    assert 0 <= label_smoothing < 0.5, f"label smoothing is {label_smoothing}; it must be in [0, 1/2)"
    assert not label_smoothing or kind in ("sigmoid", "robust"), f"{kind} has no label smoothing"
    if kind == "hinge":
        return torch.relu(1 - beta * margin)
    if kind == "ipo":
        return (margin - 1 / (2 * beta)).square()
    right, wrong = -logsigmoid(beta * margin), -logsigmoid(-beta * margin)
    if kind == "robust":
        return ((1 - label_smoothing) * right - label_smoothing * wrong) / (1 - 2 * label_smoothing)
    return (1 - label_smoothing) * right + label_smoothing * wrong


def kto_reference(mismatched_log_ratios: Tensor) -> Tensor:
    """z = max(0, mean of log pi(y') - log ref(y')), an estimate of KL(pi || ref) without gradient: (B,) -> scalar.

    y' is another page's completion, given this page: KTO (arXiv 2402.01306), section 4. It needs all pairs of the
    optimiser step, not only those of a micro-batch. 0 without pairs.
    """
    return (mismatched_log_ratios.detach().sum() / max(len(mismatched_log_ratios), 1)).clamp(min=0)


def kto_loss(
    log_ratios: Tensor,
    desirable: Tensor,
    reference: Tensor,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """lambda_D (1 - sigma(beta (r - z))) if a completion is desirable, else lambda_U (1 - sigma(beta (z - r))).

    KTO (arXiv 2402.01306), eq. 7: lambda_y - v(y). The weights can balance uneven numbers of the two kinds.

    Args:
        log_ratios: r (B,).
        desirable: (B,) bool.
        reference: z, from `kto_reference`.
    """
    away = torch.where(desirable, log_ratios - reference, reference - log_ratios)
    loss = torch.sigmoid(-beta * away)  # 1 - sigma(x)
    return torch.where(desirable, desirable_weight * loss, undesirable_weight * loss)


def orpo_loss(chosen: Tensor, rejected: Tensor, *, beta: float = 0.1) -> Tensor:
    """-log P(y_w) - beta log sigma(log odds(y_w) - log odds(y_l)), with odds = P / (1 - P). No reference model.

    ORPO (arXiv 2403.07691), eq. 4 to 7, beta its lambda. P(y) is the geometric mean of the token probabilities, so both
    are `sequence_logprobs(..., average=True)`, (B,). A certain completion, P = 1, gets the odds of the largest number
    below 1, and no gradient.
    """
    return -chosen - beta * logsigmoid(log_odds(chosen) - log_odds(rejected))


def log_odds(logprobs: Tensor) -> Tensor:
    """log(P / (1 - P)) from log P <= 0, precise near both ends."""
    logprobs = logprobs.clamp(max=-torch.finfo(logprobs.dtype).eps)
    small = logprobs < -math.log(2)
    return logprobs - torch.where(small, torch.log1p(-logprobs.exp()), torch.log(-torch.expm1(logprobs)))


def reward_model_loss(
    chosen: Tensor, rejected: Tensor, *, margin: Tensor | float = 0.0, centring: float = 0.0
) -> Tensor:
    """-log sigma(R_w - R_l - m) + c (R_w + R_l)^2 from the scores R of a pair, (B,).

    Bradley-Terry. The margin m says how much better (Llama 2, arXiv 2307.09288, eq. 2). Only differences of scores are
    learned; `centring` c keeps the scores around 0 (Eisenstein et al., 2023, arXiv 2312.09244).

    Args:
        margin: m >= 0, one per pair (B,) or one for all.
    """
    return -logsigmoid(chosen - rejected - margin) + centring * (chosen + rejected).square()


# Metrics, which are not part of any loss.


@torch.no_grad()
def implicit_rewards(logprobs: Tensor, ref_logprobs: Tensor, *, beta: float = 0.1) -> Tensor:
    """beta (log pi(y) - log ref(y)) (B,): up to a constant, the reward for which this policy is optimal."""
    return beta * (logprobs - ref_logprobs)


@torch.no_grad()
def reward_margin(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Mean of R_w - R_l; 0 without pairs."""
    return (chosen - rejected).sum() / max(len(chosen), 1)


@torch.no_grad()
def reward_accuracy(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Share of pairs with R_w > R_l; 0 without pairs. Ties do not count, so a policy equal to its reference has 0."""
    return (chosen > rejected).sum() / max(len(chosen), 1)

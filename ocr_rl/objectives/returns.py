"""Returns and advantages of single tokens: rewards with penalties, discounted sums, estimators, whitening.

Rewards and values (B, T) in, (B, T) out. A mask (B, T) is True from a completion's first token to its last, or nowhere;
the completion ends there, so the value after its last token is 0. What is normalised over a batch needs the whole
rollout batch, before it is divided into micro-batches.

What this is not: a completion that was cut off at the token limit has ended too. The critic does not estimate how it
would have continued; `missing_end_penalty` is its price.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ocr_rl.objectives.masking import masked_mean, masked_sum

Estimator = Literal["gae", "n_step", "monte_carlo", "td"]


def missing_end_penalty(rewards: Tensor, finished: Tensor, penalty: float) -> Tensor:
    """r, less the penalty for a completion without an end token: (B,), (B,) bool -> (B,)."""
    return rewards - penalty * ~finished


@torch.no_grad()
def kl_penalised_rewards(rewards: Tensor, kl: Tensor, mask: Tensor, beta: float) -> Tensor:
    """r - beta sum_t kl_t: the KL term in the reward of a completion instead of the loss. (B,), (B, T) -> (B,).

    As in RLOO (arXiv 2402.14740). `kl` are estimates per token (`policy_losses.kl_estimate`). In expectation k1 in the
    reward has the gradient of the KL itself, and so has k2 in the loss; k3 in the loss does not.
    """
    return rewards - beta * torch.where(mask, kl, 0.0).sum(1)


@torch.no_grad()
def token_rewards(rewards: Tensor, kl: Tensor, mask: Tensor, beta: float) -> Tensor:
    """r_t = -beta kl_t, plus the completion's reward at its last token: (B,), (B, T) -> (B, T), 0 at pads.

    Ziegler et al., 2019 (arXiv 1909.08593), eq. 2, by token. They add up to `kl_penalised_rewards`, except for a
    completion without tokens, which has no place for its reward.
    """
    per_token = torch.where(mask, -beta * kl, 0.0)
    return per_token + torch.where(_last(mask), rewards.unsqueeze(1), 0.0)


def _last(mask: Tensor) -> Tensor:
    """(B, T), True at the last token of each completion."""
    return mask & ~torch.nn.functional.pad(mask[:, 1:], (0, 1))


@torch.no_grad()
def rewards_to_go(rewards: Tensor, mask: Tensor, gamma: float = 1.0) -> Tensor:
    """R_t = sum_k gamma^k r_(t+k) to the completion's end: (B, T) -> (B, T), 0 at pads."""
    return _discounted_sum(torch.where(mask, rewards, 0.0), gamma)


@torch.no_grad()
def n_step_returns(rewards: Tensor, values: Tensor, mask: Tensor, n: int, gamma: float = 1.0) -> Tensor:
    """R_t = r_t + gamma r_(t+1) + ... + gamma^(n-1) r_(t+n-1) + gamma^n V_(t+n), n >= 1: (B, T) -> (B, T), 0 at pads.

    Rewards and values after the completion's end are 0, so an n of T or more gives `rewards_to_go`.
    """
    assert n >= 1, f"returns of {n} steps"
    rewards, result = torch.where(mask, rewards, 0.0), torch.where(mask, values, 0.0)
    for _ in range(min(n, rewards.shape[1])):
        result = rewards + gamma * _next(result)
    return result


@torch.no_grad()
def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float = 1.0, lam: float = 0.95
) -> Tensor:
    """A_t = sum_l (gamma lam)^l delta_(t+l), delta_t = r_t + gamma V_(t+1) - V_t: (B, T) -> (B, T), 0 at pads.

    GAE (arXiv 1506.02438), eq. 16. lam = 0 is the TD error; lam = 1 is the rewards to go minus V.

    Args:
        rewards: of each token (`token_rewards`).
        values: V_t of the critic before token t is chosen, when the rollout was scored.
    """
    rewards, values = torch.where(mask, rewards, 0.0), torch.where(mask, values, 0.0)
    deltas = rewards + gamma * _next(values) - values
    return _discounted_sum(deltas, gamma * lam)


@torch.no_grad()
def token_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, estimator: Estimator, *, gamma: float = 1.0, lam: float, n: int
) -> Tensor:
    """A_t = R_t - V_t, with the return R_t estimated from rewards and later values: (B, T) -> (B, T), 0 at pads.

    gae:          `generalized_advantages` with `lam`
    n_step:       `n_step_returns` of n tokens
    td:           the same of one token: r_t + gamma V_(t+1)
    monte_carlo:  `rewards_to_go`: no later value, so the critic is only a baseline

    The more tokens until a later value is used, the less bias of the critic and the more variance of the rewards. What
    the critic learns to predict is R = A + V.
    """
    if estimator == "gae":
        return generalized_advantages(rewards, values, mask, gamma=gamma, lam=lam)
    if estimator == "monte_carlo":
        returns = rewards_to_go(rewards, mask, gamma)
    else:
        returns = n_step_returns(rewards, values, mask, 1 if estimator == "td" else n, gamma)
    return returns - torch.where(mask, values, 0.0)


def _next(values: Tensor) -> Tensor:
    """The value one token later; 0 after the last column."""
    return torch.nn.functional.pad(values[:, 1:], (0, 1))


def _discounted_sum(values: Tensor, gamma: float) -> Tensor:
    """sum_k gamma^k v_(t+k), computed from the right."""
    result = torch.empty_like(values)
    total = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        total = values[:, t] + gamma * total
        result[:, t] = total
    return result


def whiten(values: Tensor, mask: Tensor, *, keep_mean: bool = False, eps: float = 1e-8) -> Tensor:
    """(v - mean) / sqrt(var + eps) over the trained tokens of the whole batch; 0 at pads. (B, T).

    The variance is the sample's (N - 1), as in TRL and verl; of one token it is 0. `keep_mean` adds the mean again: for
    rewards, whose sign has a meaning.
    """
    mean = masked_mean(values, mask)
    variance = masked_sum((values - mean).square(), mask) / (mask.sum() - 1).clamp(min=1)
    scaled = (values - mean) * (variance + eps).rsqrt()
    return torch.where(mask, scaled + mean if keep_mean else scaled, 0.0)

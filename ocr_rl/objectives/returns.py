"""Token rewards to returns: penalties, discounting, generalized advantage estimation, whitening."""

from __future__ import annotations

import torch
from torch import Tensor

from ocr_rl.objectives.masking import masked_mean, masked_sum


def missing_end_penalty(rewards: Tensor, finished: Tensor, penalty: float) -> Tensor:
    """r - penalty for a completion without an end token, r for one with: (B,), (B,) bool -> (B,)."""
    return rewards - penalty * ~finished


@torch.no_grad()
def kl_penalised_rewards(rewards: Tensor, kl: Tensor, mask: Tensor, beta: float) -> Tensor:
    """r - beta sum_t kl_t: the KL term in the reward of a completion instead of the loss. (B,), (B, T) -> (B,).

    Where RLOO (arXiv 2402.14740) has it. `kl` are estimates per token (`losses.kl_estimate`). In expectation k1 in the
    reward has the gradient of the KL itself, as has k2 in the loss; k3 in the loss has another.
    """
    return rewards - beta * torch.where(mask, kl, 0.0).sum(1)


@torch.no_grad()
def token_rewards(rewards: Tensor, kl: Tensor, mask: Tensor, beta: float) -> Tensor:
    """r_t = -beta kl_t, plus the completion's reward at its last token: (B,), (B, T) -> (B, T), 0 at pads.

    Ziegler et al., 2019 (arXiv 1909.08593), eq. 2, spread over the tokens. Their sum is `kl_penalised_rewards`, but
    for a completion without a token, whose reward has no place.
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

    GAE (arXiv 1506.02438), eq. 16. lam = 0 is the TD error; lam = 1 is the rewards to go minus V. What a critic learns
    to predict are the returns A + V.

    Args:
        rewards: of each token (`token_rewards`).
        values: V_t of the critic before token t is chosen, when the rollout was scored.
    """
    rewards, values = torch.where(mask, rewards, 0.0), torch.where(mask, values, 0.0)
    deltas = rewards + gamma * _next(values) - values
    return _discounted_sum(deltas, gamma * lam)


def _next(values: Tensor) -> Tensor:
    """What stands one token later; 0 after the last column."""
    return torch.nn.functional.pad(values[:, 1:], (0, 1))


def _discounted_sum(values: Tensor, gamma: float) -> Tensor:
    """sum_k gamma^k v_(t+k), from the right."""
    result = torch.empty_like(values)
    total = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        total = values[:, t] + gamma * total
        result[:, t] = total
    return result


def whiten(values: Tensor, mask: Tensor, *, keep_mean: bool = False, eps: float = 1e-8) -> Tensor:
    """(v - mean) / sqrt(var + eps) over the trained tokens of the whole batch; 0 at pads. (B, T).

    The variance is the sample's (N - 1), as in TRL and verl; of one token it is 0. `keep_mean` adds the mean again, for
    rewards, whose sign means something.
    """
    mean = masked_mean(values, mask)
    variance = masked_sum((values - mean).square(), mask) / (mask.sum() - 1).clamp(min=1)
    scaled = (values - mean) * (variance + eps).rsqrt()
    return torch.where(mask, scaled + mean if keep_mean else scaled, 0.0)

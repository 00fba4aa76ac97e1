"""How much better a completion, or a token, is than expected. Rewards in, advantages out.

Compared with siblings: rewards (P, G) -> GroupAdvantages.
Compared with a critic, or step by step: rewards and values (B, T) -> (B, T). A mask (B, T) is True from a completion's
first token to its last, or nowhere; a completion ends there, so nothing is expected after its last token. Whole
batches come in: what is normalised over a batch is so before it is cut into micro-batches.

What this is not: a completion that was cut off at the token limit is not continued by the critic's guess (it has
ended, and `missing_end_penalty` says what that costs).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ocr_rl.tensors import masked_mean, masked_sum


class GroupAdvantages(NamedTuple):
    advantages: Tensor
    """(P, G); all zero in a group without spread."""
    spread: Tensor
    """(P,) bool: whether the group's rewards differ enough to learn from."""


def group_advantages(
    rewards: Tensor, *, divide_by_std: bool = True, min_group_std: float = 0.01, eps: float = 1e-4
) -> GroupAdvantages:
    """A = (r - mean(r)) / (std(r) + eps) within each group of G completions of one page.

    GRPO, "DeepSeekMath" (arXiv 2402.03300), section 4.1.2, with the sample standard deviation (G - 1) as in TRL.
    `divide_by_std=False` is Dr. GRPO (arXiv 2503.20783): A = r - mean(r).
    A group whose std is under `min_group_std` has advantage 0: it could only amplify noise.

    Args:
        rewards: (P, G), one row per page.

    Raises:
        ValueError: a group of one has no siblings to compare with.
    """
    centred = _centred(rewards)
    std = rewards.std(dim=1, keepdim=True)
    spread = std >= min_group_std
    advantages = centred / (std + eps) if divide_by_std else centred
    return GroupAdvantages(advantages * spread, spread.squeeze(1))


def leave_one_out_advantages(rewards: Tensor) -> GroupAdvantages:
    """A_i = r_i - mean of the other G - 1 rewards of the group = G / (G - 1) (r_i - mean(r)).

    RLOO (arXiv 2402.14740). The baseline does not depend on the completion that it judges, so the gradient is unbiased;
    with the group's mean as the baseline it is (G - 1) / G of that.

    Args:
        rewards: (P, G), one row per page.

    Raises:
        ValueError: a group of one has no siblings to compare with.
    """
    size = rewards.shape[1]
    advantages = _centred(rewards) * (size / max(size - 1, 1))
    spread = _differ(rewards)
    return GroupAdvantages(advantages * spread, spread.squeeze(1))


def batch_advantages(
    rewards: Tensor, *, divide_by: Literal["advantage_std", "reward_std"] = "advantage_std", eps: float = 1e-4
) -> GroupAdvantages:
    """A = (r - mean of the group) / (std over the batch + eps): one scale for easy and hard pages alike.

    advantage_std: std of r - mean of the group, REINFORCE++ with a baseline (arXiv 2501.03262)
    reward_std:    std of r, Lite PPO (arXiv 2508.08221)

    REINFORCE++ without groups is whiten(rewards_to_go(token_rewards(...))).

    Args:
        rewards: (P, G), one row per page.

    Raises:
        ValueError: a group of one has no siblings to compare with.
    """
    centred, spread = _centred(rewards), _differ(rewards)
    std = (centred if divide_by == "advantage_std" else rewards).std()
    return GroupAdvantages(centred / (std + eps) * spread, spread.squeeze(1))


def decoupled_advantages(
    rewards: Tensor, weights: Tensor, *, min_group_std: float = 0.01, eps: float = 1e-4
) -> GroupAdvantages:
    """Each reward normalised within its group, then their weighted sum normalised over the batch.

    A_k = (r_k - mean(r_k)) / (std(r_k) + eps) within the group, S = sum_k w_k A_k, A = (S - mean(S)) / (std(S) + eps)
    over the batch: GDPO (arXiv 2601.05242). So a reward of a small scale counts as much as its weight says, and
    completions that differ in one reward only stay apart. A reward whose std in a group is under `min_group_std` says
    nothing there; a group has spread if one of its rewards has.

    Args:
        rewards: (P, G, K), K rewards of each completion.
        weights: (K,).

    Raises:
        ValueError: a group of one has no siblings to compare with.
    """
    each = [group_advantages(r, min_group_std=min_group_std, eps=eps) for r in rewards.unbind(-1)]
    spread = torch.stack([one.spread for one in each]).any(0)
    total = torch.stack([one.advantages for one in each], -1) @ weights.to(rewards.dtype)
    advantages = (total - total.mean()) / (total.std() + eps)
    return GroupAdvantages(advantages * spread[:, None], spread)


def _centred(rewards: Tensor) -> Tensor:
    if rewards.shape[1] < 2:
        raise ValueError(f"group_size is {rewards.shape[1]}; a group needs at least 2 completions to compare")
    return rewards - rewards.mean(dim=1, keepdim=True)


def _differ(rewards: Tensor) -> Tensor:
    """(P, 1): whether a group's rewards are not all the same."""
    return rewards.amax(1, keepdim=True) > rewards.amin(1, keepdim=True)


# Rewards with penalties.


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


# Token by token.


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

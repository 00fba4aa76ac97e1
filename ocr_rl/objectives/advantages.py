"""How much better a completion is than its siblings: rewards (P, G) of P groups -> GroupAdvantages.

What is normalised over a batch needs the whole rollout batch, before it is divided into micro-batches. Advantages from
a critic are in `returns`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ocr_rl.objectives.returns import rewards_to_go


class GroupAdvantages(NamedTuple):
    advantages: Tensor
    """(P, G); all zero in a group without spread."""
    spread: Tensor
    """(P,) bool: whether the group's rewards differ enough to learn from."""


def group_advantages(
    rewards: Tensor,
    *,
    divide_by_std: bool = True,
    min_group_std: float = 0.01,
    eps: float = 1e-4,
    scale_of: Tensor | None = None,
) -> GroupAdvantages:
    """A = (r - mean(r)) / (std(r) + eps) within each group of G completions of one page.

    GRPO, "DeepSeekMath" (arXiv 2402.03300), section 4.1.2, with the sample standard deviation (G - 1) as in TRL.
    `divide_by_std=False` is Dr. GRPO (arXiv 2503.20783): A = r - mean(r).
    A group whose std is below `min_group_std` has advantage 0, because dividing by it would amplify noise.

    Args:
        rewards: (P, G), one row per page.
        scale_of: (P, G), the rewards whose deviation is meant, where `rewards` are a part of these.

    Raises:
        ValueError: a group of one has no siblings to compare with.
    """
    centred = _centred(rewards)
    std = (rewards if scale_of is None else scale_of).std(dim=1, keepdim=True)
    spread = std >= min_group_std
    advantages = centred / (std + eps) if divide_by_std else centred
    return GroupAdvantages(advantages * spread, spread.squeeze(1))


def leave_one_out_advantages(rewards: Tensor) -> GroupAdvantages:
    """A_i = r_i - mean of the other G - 1 rewards of the group = G / (G - 1) (r_i - mean(r)).

    RLOO (arXiv 2402.14740). The baseline does not depend on the completion's own reward, so the gradient is unbiased;
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


def batch_advantages(rewards: Tensor, *, eps: float = 1e-4, scale_of: Tensor | None = None) -> GroupAdvantages:
    """A = c / (std(c) + eps), c = r - mean of the group, std over the batch: one scale for easy and hard pages alike.

    REINFORCE++ with a baseline (arXiv 2501.03262).

    Args:
        rewards: (P, G), one row per page.
        scale_of: (P, G), the rewards whose deviation is meant, where `rewards` are a part of these.

    Raises:
        ValueError: a group of one has no siblings to compare with.
    """
    centred, spread = _centred(rewards), _differ(rewards)
    scale = (centred if scale_of is None else _centred(scale_of)).std() + eps
    return GroupAdvantages(centred / scale * spread, spread.squeeze(1))


def decoupled_advantages(
    rewards: Tensor, weights: Tensor, *, min_group_std: float = 0.01, eps: float = 1e-4
) -> GroupAdvantages:
    """Each reward normalised within its group, then their weighted sum normalised over the batch.

    A_k = (r_k - mean(r_k)) / (std(r_k) + eps) within the group, S = sum_k w_k A_k, A = (S - mean(S)) / (std(S) + eps)
    over the batch: GDPO (arXiv 2601.05242). So a reward on a small scale counts as much as its weight says, and
    completions that differ in only one reward stay apart. A reward whose std in a group is below `min_group_std` is
    ignored there; a group has spread if one of its rewards has.

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


@torch.no_grad()
def reward_to_go_advantages(advantages: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """A_t = A - sum_(s<t) r_s = R_t - b, R_t the rewards from token t on: (B,), (B, T) -> (B, T), 0 at pads.

    A = sum_t r_t - b compares a completion's total reward with a baseline b. Token t cannot change the rewards before
    it; without them the expected gradient is the same and its variance smaller (Sutton et al., 2000, "Policy gradient
    methods for reinforcement learning with function approximation").

    Args:
        advantages: A, not divided by a deviation.
        rewards: of each token (`token_rewards`).
        mask: True from a completion's first token to its last.
    """
    to_go = rewards_to_go(rewards, mask)
    return torch.where(mask, advantages.unsqueeze(1) - (to_go[:, :1] - to_go), 0.0)


def _centred(rewards: Tensor) -> Tensor:
    if rewards.shape[1] < 2:
        raise ValueError(f"group_size is {rewards.shape[1]}; a group needs at least 2 completions to compare")
    return rewards - rewards.mean(dim=1, keepdim=True)


def _differ(rewards: Tensor) -> Tensor:
    """(P, 1): whether a group's rewards are not all the same."""
    return rewards.amax(1, keepdim=True) > rewards.amin(1, keepdim=True)

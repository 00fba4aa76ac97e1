"""How much better a completion is than its siblings. Rewards in, advantages out; both (P, G)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


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
    if rewards.shape[1] < 2:
        raise ValueError(f"group_size is {rewards.shape[1]}; a group needs at least 2 completions to compare")
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    std = rewards.std(dim=1, keepdim=True)
    spread = std >= min_group_std
    advantages = centred / (std + eps) if divide_by_std else centred
    return GroupAdvantages(advantages * spread, spread.squeeze(1))

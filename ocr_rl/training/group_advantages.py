"""Advantages of the completions of a batch, or of their tokens, as [grpo] says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from ocr_rl import distributed
from ocr_rl.config.schema import GrpoConfig
from ocr_rl.models.padding import pad_rows
from ocr_rl.objectives.advantages import (
    GroupAdvantages,
    batch_advantages,
    decoupled_advantages,
    group_advantages,
    leave_one_out_advantages,
)
from ocr_rl.objectives.alignment import alignment_advantages, mixed_advantages
from ocr_rl.rewards.placed_parts import PLACED, PlacedPart, placed_parts, rewards_without
from ocr_rl.rewards.placed_tests import PlacedTest, placed_tests
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup, gated_parts


def advantages_of(
    scored: Sequence[ScoredGroup],
    config: GrpoConfig,
    weights: Mapping[str, float] | None = None,
    rewards: Tensor | None = None,
    scale_of: Tensor | None = None,
) -> GroupAdvantages:
    """(P, G) advantages and (P,) whether the group has spread.

    Args:
        weights: of the parts of the reward, for the decoupled advantages.
        rewards: (P, G), in place of the groups' own.
        scale_of: (P, G), the rewards whose deviation `rewards`, a part of these, are divided by.
    """
    if config.advantage == "decoupled":
        assert weights is not None
        assert rewards is None
        parts = torch.tensor([[gated_parts(score, weights) for score in group.scores] for group in scored])
        return decoupled_advantages(parts, torch.tensor(list(weights.values())), min_group_std=config.min_group_std)
    if rewards is None:
        rewards = torch.tensor([group.rewards for group in scored])
    if config.advantage == "leave_one_out":
        return leave_one_out_advantages(rewards)
    if config.advantage == "batch":
        return batch_advantages(rewards, scale_of=scale_of)
    return group_advantages(
        rewards, divide_by_std=config.divide_by_std, min_group_std=config.min_group_std, scale_of=scale_of
    )


def credited_advantages(
    scored: Sequence[ScoredGroup],
    grpo: GrpoConfig,
    reward_function: RewardFunction,
    pieces: Callable[[Sequence[int]], list[str]],
) -> tuple[GroupAdvantages, Sequence[Tensor]]:
    """Edits, and tests on request, are paid to their tokens, the rest of the reward to the completion as a whole.

    Args:
        pieces: what each token adds to the text (`Policy.pieces`).

    Returns:
        The mean advantage of each completion's tokens, and for each page those of its tokens, (G, T).
    """
    mine = [
        (
            placed_parts(group, reward_function, pieces),
            placed_tests(group, reward_function, pieces) if grpo.credit_tests else [],
        )
        for group in distributed.mine(scored)
    ]
    placed = distributed.gather(mine)
    parts, tests = [own for own, _ in placed], [own for _, own in placed]
    whole = torch.tensor([group.rewards for group in scored])
    rest = torch.tensor([rewards_without(group, own) for group, own in zip(scored, parts, strict=True)])
    earned = _earned(tests, rest)
    found = advantages_of(scored, grpo, rewards=rest - earned.sum(0), scale_of=whole)
    masks = [pad_rows([[0] * len(c.token_ids) for c in group.group.completions], 0)[1] for group in scored]
    by_token: list[list[tuple[float, Tensor]]] = [[] for _ in scored]
    for name in PLACED:
        pages = [(i, part) for i, own in enumerate(parts) for part in own if part.name == name]
        if not pages:
            continue
        credited = alignment_advantages(
            [_by_token(part, masks[i], "deltas").float() for i, part in pages],
            [masks[i] & torch.tensor([credit is not None for credit in part.credits])[:, None] for i, part in pages],
            [_by_token(part, masks[i], "positions") for i, part in pages],
            lam=grpo.credit_lambda,
            cap=grpo.credit_cap,
            baseline=grpo.credit_baseline,
        )
        for (i, part), own in zip(pages, credited, strict=True):
            by_token[i].append((part.share, own))
    for k, rewards in enumerate(earned):
        compared = advantages_of(scored, grpo, rewards=rewards, scale_of=whole).advantages
        for i, placed_here in enumerate(tests):
            if k < len(placed_here):
                by_token[i].append((1.0, compared[i, :, None] * pad_rows(placed_here[k].tokens, 0)[0]))
    each = zip(found.advantages, by_token, masks, strict=True)
    mixed = [mixed_advantages(sequence, own, mask) for sequence, own, mask in each]
    means = torch.stack([own.sum(1) / mask.sum(1) for own, mask in zip(mixed, masks, strict=True)])
    return GroupAdvantages(means, found.spread | torch.tensor([bool(own.any()) for own in mixed])), mixed


def _earned(tests: Sequence[Sequence[PlacedTest]], rewards: Tensor) -> Tensor:
    """(K, P, G): what the k-th placed test of each page pays its completions; 0 where a page has fewer.

    Args:
        rewards: (P, G), for the shape.
    """
    earned = rewards.new_zeros(max(map(len, tests)), *rewards.shape)
    for i, own in enumerate(tests):
        for k, test in enumerate(own):
            earned[k, i] = test.share * torch.tensor(test.passed)
    return earned


def _by_token(part: PlacedPart, mask: Tensor, name: Literal["deltas", "positions"]) -> Tensor:
    """(G, T) of a part's credit; 0 for a completion without one, and at pads."""
    rows = [[0] if credit is None else getattr(credit, name) for credit in part.credits]
    found = pad_rows(rows, 0)[0]
    return torch.nn.functional.pad(found, (0, mask.shape[1] - found.shape[1]))

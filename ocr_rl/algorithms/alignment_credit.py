"""Advantages by token, where part of the reward has a place: edits against a reference, or against the siblings.

A similarity is an edit distance, and each edit belongs to a token. That share of the reward is paid to tokens; what has
no place (tests, gates, other parts) is compared between completions as before, and the two are added by weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from ocr_rl.config.schema import GrpoConfig
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.policy import Policy
from ocr_rl.objectives.alignment import alignment_advantages
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup
from ocr_rl.rewards.token_credit import TokenCredit, token_credits
from ocr_verifiers.rewards.consensus import consensus
from ocr_verifiers.rewards.rubric import CONSENSUS, GATES

PLACED = ("similarity", CONSENSUS)
"""Parts of a reward that are edit distances."""


class PlacedPart(NamedTuple):
    """A part of the reward of a page's completions that each token has its share of."""

    name: str
    share: float
    """Its weight / the sum of the weights that apply to the page."""
    credits: list[TokenCredit]


def placed_parts(policy: Policy, scored: ScoredGroup, reward_function: RewardFunction) -> list[PlacedPart]:
    """The parts of a page's reward that have a place, with the credit of every token of its completions."""
    rubric, prepared = reward_function.rubric, reward_function.prepared(scored.group.page)
    weights = {**prepared.weights, CONSENSUS: rubric.weights.get(CONSENSUS, 0.0)}
    pieces = [policy.pieces(completion.token_ids) for completion in scored.group.completions]
    parts = []
    for name in PLACED:
        if not weights.get(name):
            continue
        if name == CONSENSUS:
            texts = [rubric.normalized(completion.text) for completion in scored.group.completions]
            agreements = consensus(texts, unit=rubric.unit)
            reference = texts[agreements.index(max(agreements))]
        else:
            assert prepared.reference is not None
            reference = prepared.reference.normalized
        credits = token_credits(scored.group, pieces, reference, rubric)
        parts.append(PlacedPart(name, weights[name] / sum(weights.values()), credits))
    return parts


def rewards_without(scored: ScoredGroup, parts: Sequence[PlacedPart]) -> list[float]:
    """The rewards of a group, less what the parts with a place have paid."""
    rest = []
    for reward, score in zip(scored.rewards, scored.scores, strict=True):
        gates = prod(score.parts.get(gate, 1.0) for gate in GATES)
        rest.append(reward - gates * sum(part.share * score.parts.get(part.name, 0.0) for part in parts))
    return rest


def token_advantages(
    scored: Sequence[ScoredGroup], parts: Sequence[Sequence[PlacedPart]], sequence: Tensor, grpo: GrpoConfig
) -> list[Tensor]:
    """For each page (G, T): sum of share * A of the tokens, + (1 - shares) * A of the completion.

    Args:
        parts: of each page.
        sequence: (P, G) advantages of what has no place.
    """
    masks = [_mask(group) for group in scored]
    shares = torch.tensor([sum(part.share for part in own) for own in parts])
    mixed = [
        torch.where(mask, ((1 - share) * row)[:, None], 0.0)
        for mask, share, row in zip(masks, shares, sequence, strict=True)
    ]
    for name in PLACED:
        pages = [(i, part) for i, own in enumerate(parts) for part in own if part.name == name]
        if not pages:
            continue
        found = alignment_advantages(
            [pad_rows([credit.deltas for credit in part.credits], 0)[0].float() for _, part in pages],
            [masks[i] for i, _ in pages],
            [pad_rows([credit.positions for credit in part.credits], 0)[0] for _, part in pages],
            lam=grpo.credit_lambda,
            cap=grpo.credit_cap,
            baseline=grpo.credit_baseline,
        )
        for (i, part), advantages in zip(pages, found, strict=True):
            mixed[i] = mixed[i] + part.share * advantages
    return mixed


def mean_of_tokens(scored: ScoredGroup, advantages: Tensor) -> Tensor:
    """(G, T) -> (G,): what a completion's tokens have on average."""
    return advantages.sum(1) / _mask(scored).sum(1)


def _mask(scored: ScoredGroup) -> Tensor:
    return pad_rows([[1] * len(completion.token_ids) for completion in scored.group.completions], 0)[1]

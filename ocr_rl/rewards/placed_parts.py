"""The parts of a reward that have a place: edits against a reference, or against the siblings.

A similarity is an edit distance, and each edit belongs to a token. What has no place (tests, gates, other parts) is the
rest of the reward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup
from ocr_rl.rewards.token_credit import TokenCredit, token_credits
from ocr_verifiers import Score
from ocr_verifiers.rewards.consensus import consensus
from ocr_verifiers.rewards.gates import GATES
from ocr_verifiers.rewards.rubric import CONSENSUS

PLACED = ("similarity", CONSENSUS)


class PlacedPart(NamedTuple):
    """A part of the reward of a page's completions that each token has its share of."""

    name: str
    share: float
    """Its weight / the sum of the weights that apply to the page."""
    credits: list[TokenCredit]


def placed_parts(
    scored: ScoredGroup, reward_function: RewardFunction, pieces: Callable[[Sequence[int]], list[str]]
) -> list[PlacedPart]:
    """The parts of a page's reward that have a place, with the credit of every token of its completions.

    The similarity is that to the page's text. The consensus is that to the completion which agrees most with its
    siblings, as their minimum-Bayes-risk text.

    Args:
        pieces: what each token adds to the text (`Policy.pieces`).
    """
    rubric, prepared = reward_function.rubric, reward_function.prepared(scored.group.page)
    weights = {**prepared.weights, CONSENSUS: rubric.weights.get(CONSENSUS, 0.0)}
    written = [pieces(completion.token_ids) for completion in scored.group.completions]
    parts = []
    for name in PLACED:
        if not weights.get(name):
            continue
        if name == CONSENSUS:
            texts = [rubric.read_text(completion.text) for completion in scored.group.completions]
            agreements = consensus(texts, unit=rubric.unit)
            reference = texts[agreements.index(max(agreements))]
        else:
            assert prepared.reference is not None
            reference = prepared.reference.read
        credits = token_credits(scored.group, written, reference, rubric)
        parts.append(PlacedPart(name, weights[name] / sum(weights.values()), credits))
    return parts


def token_costs(scored: ScoredGroup, parts: Sequence[PlacedPart]) -> list[list[float]]:
    """What the edits of each token take from its completion's reward: 0 or less, a row of T numbers per completion."""
    rows = []
    for i, (completion, score) in enumerate(zip(scored.group.completions, scored.scores, strict=True)):
        row = [0.0] * len(completion.token_ids)
        for part in parts:
            credit = part.credits[i]
            each = part.share * _gates(score) / max(credit.length, 1)
            row = [cost + each * delta for cost, delta in zip(row, credit.deltas, strict=True)]
        rows.append(row)
    return rows


def rewards_without(scored: ScoredGroup, parts: Sequence[PlacedPart]) -> list[float]:
    """The rewards of a group, less what the parts with a place have paid."""
    rest = []
    for reward, score in zip(scored.rewards, scored.scores, strict=True):
        placed = sum(part.share * score.parts.get(part.name, 0.0) for part in parts)
        rest.append(reward - _gates(score) * placed)
    return rest


def _gates(score: Score) -> float:
    return prod(score.parts.get(gate, 1.0) for gate in GATES)

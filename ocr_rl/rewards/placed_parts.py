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
from ocr_rl.types import Group, Page
from ocr_verifiers.rewards.consensus import consensus
from ocr_verifiers.rewards.gates import GATES
from ocr_verifiers.rewards.rubric import CONSENSUS

PLACED = ("similarity", CONSENSUS)


class PlacedPart(NamedTuple):
    """A part of the reward of a page's completions that each token has its share of."""

    name: str
    share: float
    """Its weight / the sum of the weights that apply to the page."""
    credits: list[TokenCredit | None]
    """None for a completion that could not be scored."""
    values: list[float]
    """What the tokens of each completion are worth together, in [0, 1]: 1 + sum of the deltas / length, or the
    agreement with its siblings. 1 where there is no credit, so that the lost reward is all the completion's."""


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
    weights = applied_weights(reward_function, scored.group.page)
    read = [i for i, score in enumerate(scored.scores) if not score.trouble]
    group = Group(scored.group.page, [scored.group.completions[i] for i in read])
    written = [pieces(completion.token_ids) for completion in group.completions]
    parts = []
    for name in PLACED:
        if not weights.get(name) or not read or (name == CONSENSUS and len(read) < 2):
            continue
        if name == CONSENSUS:
            texts = [rubric.read_text(completion.text) for completion in group.completions]
            agreements = consensus(texts, unit=rubric.unit)
            reference = texts[agreements.index(max(agreements))]
        else:
            assert prepared.reference is not None
            reference = prepared.reference.read
        found = token_credits(group, written, reference, rubric)
        worth = [1 + sum(credit.deltas) / max(credit.length, 1) for credit in found]
        if name == CONSENSUS:  # the others agree with nothing
            others = (len(read) - 1) / (len(scored.scores) - 1)
            worth = [others * value for value in consensus(texts, rubric.agreement, rubric.unit)]
        credits: list[TokenCredit | None] = [None] * len(scored.scores)
        values = [1.0] * len(scored.scores)
        for i, credit, value in zip(read, found, worth, strict=True):
            credits[i], values[i] = credit, value
        parts.append(PlacedPart(name, weights[name] / sum(weights.values()), credits, values))
    return parts


def applied_weights(reward_function: RewardFunction, page: Page) -> dict[str, float]:
    """The weights of the parts of the reward that apply to a page, consensus included."""
    consensus_weight = reward_function.rubric.weights.get(CONSENSUS, 0.0)
    return {**reward_function.prepared(page).weights, CONSENSUS: consensus_weight}


def token_costs(scored: ScoredGroup, parts: Sequence[PlacedPart]) -> list[list[float]]:
    """What the edits of each token take from its completion's reward: 0 or less, a row of T numbers per completion."""
    rows = []
    for i, (completion, score) in enumerate(zip(scored.group.completions, scored.scores, strict=True)):
        gates = prod(score.parts.get(gate, 1.0) for gate in GATES)
        row = [0.0] * len(completion.token_ids)
        for part in parts:
            if (credit := part.credits[i]) is not None:
                each = part.share * gates / max(credit.length, 1)
                row = [cost + each * delta for cost, delta in zip(row, credit.deltas, strict=True)]
        rows.append(row)
    return rows


def rewards_without(scored: ScoredGroup, parts: Sequence[PlacedPart]) -> list[float]:
    """The rewards of a group, less what the tokens of each completion earn: other parts, and what gates take."""
    return [reward - sum(part.share * part.values[i] for part in parts) for i, reward in enumerate(scored.rewards)]

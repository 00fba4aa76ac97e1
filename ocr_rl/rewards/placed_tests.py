"""Unit tests that have a place: which tokens of a completion each of them is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from ocr_rl.rewards.placed_parts import applied_weights
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup
from ocr_verifiers.text.offsets import prefix_lengths
from ocr_verifiers.unit_tests.places import Place, find_place

PASS_RATE = "pass_rate"


class PlacedTest(NamedTuple):
    """A unit test of a page, for its G completions."""

    share: float
    """What it is worth: weight of the pass rate / sum of the weights / number of tests."""
    passed: list[bool]
    """(G,)."""
    tokens: list[list[bool]]
    """(G, T): the tokens of the passage that the test looks at; all of them where it has no place."""


def placed_tests(
    scored: ScoredGroup, reward_function: RewardFunction, pieces: Callable[[Sequence[int]], list[str]]
) -> list[PlacedTest]:
    """The unit tests of a page that have a place in one of its completions. No others: they stay in the reward.

    Args:
        pieces: what each token adds to the text (`Policy.pieces`).
    """
    rubric, prepared = reward_function.rubric, reward_function.prepared(scored.group.page)
    weights = applied_weights(reward_function, scored.group.page)
    tests = prepared.tests
    if not weights.get(PASS_RATE) or not tests:
        return []
    passed, looked_at = [], []
    for completion, score in zip(scored.group.completions, scored.scores, strict=True):
        if score.trouble:
            passed.append([False] * len(tests))
            looked_at.append([[True] * len(completion.token_ids)] * len(tests))
            continue
        passed.append([verdict.passed for _, verdict in score.verdicts])
        page, _ = rubric.read(completion.text)
        places = [find_place(test, page) for test in tests]
        looked_at.append(_tokens(pieces(completion.token_ids), page.strict, places))
    share = weights[PASS_RATE] / sum(weights.values()) / len(tests)
    return [
        PlacedTest(share, [own[k] for own in passed], [own[k] for own in looked_at])
        for k in range(len(tests))
        if not all(all(own[k]) for own in looked_at)
    ]


def _tokens(pieces: Sequence[str], text: str, places: Sequence[Place | None]) -> list[list[bool]]:
    """For each place whether each token writes some of it; for None, and a place that none writes, every token."""
    if not any(places):
        return [[True] * len(pieces)] * len(places)
    lengths = prefix_lengths("".join(pieces), text)
    ends = [lengths[read] for read in accumulate(map(len, pieces), initial=0)]
    rows = []
    for place in places:
        row = [place is not None and start < place.end and end > place.start for start, end in pairwise(ends)]
        rows.append(row if any(row) else [True] * len(pieces))
    return rows

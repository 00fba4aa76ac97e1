"""Preferences from rewards: one transcription of a page is better than another, or is good or bad by itself.

A text counts once in a group, with its best reward, so identical texts never form a pair. What is chosen depends on
texts and rewards alone, not on the order of the completions. A group in which nothing differs enough gives nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.types import Completion, Page

Choose = Literal["best-worst", "margin", "best-of-n"]


@dataclass(frozen=True)
class Pair:
    """Two transcriptions of one page; `chosen` is the better one."""

    page: Page
    chosen: Completion
    rejected: Completion
    chosen_reward: float
    rejected_reward: float

    @property
    def margin(self) -> float:
        return self.chosen_reward - self.rejected_reward


@dataclass(frozen=True)
class LabelledCompletion:
    """A transcription that is good or bad by itself."""

    page: Page
    completion: Completion
    desirable: bool
    reward: float


def pairs_of_groups(
    groups: Iterable[ScoredGroup], choose: Choose = "best-worst", margin: float = 0.1, max_pairs: int = 8
) -> list[Pair]:
    """The pairs of each group in turn, each group's largest margins first.

    best-worst: the best completion against the worst
    best-of-n:  the best completion against every other that is `margin` worse
    margin:     every two completions that are `margin` apart, at most `max_pairs` of a page

    Args:
        margin: minimum difference between the rewards of a pair, above 0.
    """
    return [pair for group in groups for pair in _pairs(group, choose, margin, max_pairs)]


def _pairs(scored: ScoredGroup, choose: Choose, margin: float, max_pairs: int) -> list[Pair]:
    assert margin > 0, f"the margin is {margin}; at 0, completions of equal reward would be pairs"
    ranked = _ranked(scored)
    found = [
        Pair(scored.group.page, chosen, rejected, better, worse)
        for i, (better, chosen) in enumerate(ranked if choose == "margin" else ranked[:1])
        for worse, rejected in ranked[i + 1 :]
        if better - worse >= margin
    ]
    found.sort(key=lambda pair: -pair.margin)
    return found[: {"best-worst": 1, "best-of-n": len(found), "margin": max_pairs}[choose]]


def labels_of_groups(
    groups: Iterable[ScoredGroup], threshold: float | None = None, dead_zone: float = 0.0
) -> list[LabelledCompletion]:
    """The good and the bad completions of each group in turn, the best first.

    With a `threshold`, a reward of at least threshold + dead_zone is good, and one below threshold - dead_zone is bad.
    Without one, the threshold is the mean of the group's rewards, and a completion exactly there is neither: a group
    of equal rewards gives nothing.
    """
    return [label for group in groups for label in _labels(group, threshold, dead_zone)]


def _labels(scored: ScoredGroup, threshold: float | None, dead_zone: float) -> list[LabelledCompletion]:
    middle = mean(scored.rewards) if threshold is None else threshold
    found = []
    for reward, completion in _ranked(scored):
        good, bad = reward >= middle + dead_zone, reward < middle - dead_zone
        if (good or bad) and not (threshold is None and reward == middle):
            found.append(LabelledCompletion(scored.group.page, completion, good, reward))
    return found


def _ranked(scored: ScoredGroup) -> Sequence[tuple[float, Completion]]:
    """Each text once with its best reward, the best first; equal rewards are ordered by text."""
    rows = zip(scored.rewards, scored.group.completions, strict=True)
    texts: dict[str, tuple[float, Completion]] = {}
    for reward, completion in sorted(rows, key=lambda row: (-row[0], row[1].text, not row[1].finished)):
        texts.setdefault(completion.text, (reward, completion))
    return list(texts.values())


def largest_margin(scored: ScoredGroup) -> float:
    """Between two different texts of a group; 0 if there is only one."""
    ranked = _ranked(scored)
    return ranked[0][0] - ranked[-1][0] if ranked else 0.0

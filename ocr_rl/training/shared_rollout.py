"""Rollouts shared by several processes: each samples its share of the pages, all get the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from ocr_rl import distributed
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.rollouts.engine import Engine, Sampling
from ocr_rl.rollouts.scoring import GroupScorer, RolledOut
from ocr_rl.types import Completion, Group, Page
from ocr_verifiers import Score

SEEDS_APART = 40_000_003
"""Between the seeds of two processes in the same step; no run has so many steps. PyTorch's generator on the CPU takes
the lower 32 bits."""


def roll_out(
    scorer: GroupScorer, engine: Engine, pages: Sequence[Page], sampling: Sampling, seed: int, permute: bool = False
) -> RolledOut:
    """`GroupScorer.roll_out`, divided over the processes. `permute` is seeded too.

    What is sampled depends on the number of processes.
    """
    seed += distributed.rank() * SEEDS_APART
    own = distributed.mine(pages)
    rolled = scorer.roll_out(engine, own, sampling, seed, Random(f"permute:{seed}") if permute else None)
    if distributed.count() == 1:
        return rolled
    reasons = {page.id: why for page, why in rolled.refused}
    groups = iter(rolled.groups)
    gathered = distributed.gather(
        [reasons[page.id] if page.id in reasons else _PortableGroup.of(next(groups)) for page in own]
    )
    times = distributed.gather([(rolled.generate_s, rolled.score_s)])
    return RolledOut(
        [one.about(page) for page, one in zip(pages, gathered, strict=True) if isinstance(one, _PortableGroup)],
        [(page, one) for page, one in zip(pages, gathered, strict=True) if isinstance(one, str)],
        max(generate_s for generate_s, _ in times),
        max(score_s for _, score_s in times),
    )


class _PortableGroup(NamedTuple):
    """A scored group without its page, which every process has already."""

    completions: Sequence[Completion]
    scores: Sequence[Score]
    rewards: Sequence[float]

    @classmethod
    def of(cls, scored: ScoredGroup) -> _PortableGroup:
        return cls(scored.group.completions, scored.scores, scored.rewards)

    def about(self, page: Page) -> ScoredGroup:
        return ScoredGroup(Group(page, self.completions), self.scores, self.rewards)

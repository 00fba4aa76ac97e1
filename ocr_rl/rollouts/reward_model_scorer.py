"""Scores groups with a trained reward model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from ocr_rl.models.reward_model import RewardModel
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup, scored_group
from ocr_rl.rollouts.engine import Engine, Sampling
from ocr_rl.rollouts.scoring import GroupScorer, RolledOut
from ocr_rl.types import Page


class RewardModelScorer(GroupScorer):
    """Gives the reward r = (1 - w) rules + w sigma(R), with the reward model in this process."""

    def __init__(self, model: RewardModel, weight: float, reward_function: RewardFunction, processes: int) -> None:
        """`weight` is w, in (0, 1]."""
        super().__init__(reward_function, processes)
        self.model, self.weight = model, weight

    def roll_out(
        self, engine: Engine, pages: Sequence[Page], sampling: Sampling, seed: int, permute: Random | None = None
    ) -> RolledOut:
        """See `GroupScorer.roll_out`; sigma(R) is the part "model" of each score."""
        rolled = super().roll_out(engine, pages, sampling, seed)
        began = time.monotonic()
        groups = [self._with_rating(group, permute) for group in rolled.groups]
        return replace(rolled, groups=groups, score_s=rolled.score_s + time.monotonic() - began)

    def _with_rating(self, scored: ScoredGroup, permute: Random | None) -> ScoredGroup:
        w = self.weight
        scores = [
            replace(score, reward=(1 - w) * score.reward + w * rating, parts={**score.parts, "model": rating})
            for score, rating in zip(scored.scores, self.model.rate(scored.group), strict=True)
        ]
        return scored_group(scored.group, scores, permute)

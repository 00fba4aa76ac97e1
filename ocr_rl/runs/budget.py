"""What a run may spend, what it has spent, and when it is evaluated during training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ocr_rl.config.schema import Recipe


class Budget:
    """Counts the lines of metrics.jsonl, so that a resumed run ends where it would have ended."""

    def __init__(self, recipe: Recipe, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        """`rows` are the lines of the steps done so far."""
        budget = recipe.budget
        self._limits = {
            "step": recipe.train.steps,
            "pages": budget.pages,
            "completions": budget.completions,
            "time/compute": budget.seconds,
        }
        self._spent = dict.fromkeys(self._limits, 0.0)
        self._evaluations = budget.evaluations
        for row in rows:
            self.spend(row)

    def spend(self, metrics: Mapping[str, Any]) -> bool:
        """Count a step. True if it is the first at or after one of the evenly spaced evaluations."""
        before = self._stretch()
        for name in self._spent:
            self._spent[name] += 1 if name == "step" else metrics.get(name) or 0.0
        return not self.used_up and self._stretch() > before

    @property
    def progress(self) -> float:
        """Share of the nearest limit that is used: 0 at the start, 1 when it is reached."""
        shares = [self._spent[name] / limit for name, limit in self._limits.items() if limit]
        return max(shares, default=1.0)

    @property
    def used_up(self) -> bool:
        return self.progress >= 1

    def _stretch(self) -> int:
        return int(self.progress * (self._evaluations + 1))

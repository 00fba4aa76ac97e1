"""Whether evaluations have stopped getting better, so that a run may end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ocr_rl.config.schema import TrainConfig
from ocr_rl.metric_names import LOWER_IS_BETTER

METRICS = ("cer", "pass_rate", "reward")
"""The first that held-out pages have decides, unless train.keep_best names another."""


class Patience:
    """Follows from the lines of metrics.jsonl, so that a resumed run ends where it would have ended."""

    def __init__(self, train: TrainConfig, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        """`rows` are the lines of the start, if it was evaluated, and of the steps done so far."""
        self._names = (train.keep_best,) if train.keep_best else METRICS
        self._patience = train.patience
        self._best: float | None = None
        self._waited = 0
        for row in rows:
            self.add(row)

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Count a step; one that is not evaluated changes nothing."""
        name = next((name for name in self._names if metrics.get(f"eval/{name}") is not None), None)
        if name is None:
            return
        value = metrics[f"eval/{name}"] * (-1 if name in LOWER_IS_BETTER else 1)
        if self._best is None or value > self._best:
            self._best, self._waited = value, 0
        else:
            self._waited += 1

    @property
    def at_end(self) -> bool:
        """Whether train.patience evaluations in a row were not better than the best before them."""
        return bool(self._patience) and self._waited >= self._patience

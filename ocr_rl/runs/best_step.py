"""The best step of a run so far, by a metric of its held-out evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ocr_rl.metric_names import LOWER_IS_BETTER
from ocr_rl.runs.folder import RunFolder


class BestStep:
    """Follows a run's evaluations. Of equals the first is the best; the state before training is no step.

    What is best follows from metrics.jsonl and the checkpoints that there are; best.json tells others, and names
    only a checkpoint that is complete. So a run that is killed between any two writes goes on with the same best.
    """

    def __init__(self, run: RunFolder, metric: str) -> None:
        """Takes up the evaluations that `run` has logged. With an empty metric no step is ever the best.

        Of these only steps that still have a checkpoint count: if somebody deleted the best one, the next best
        takes its place.
        """
        self.run, self.metric = run, metric
        self.step: int | None = None
        self.value: float | None = None
        for logged in run.logged():
            if run.checkpoint(logged.metrics["step"]).is_dir():
                self.offer(logged.metrics["step"], logged.metrics)
        self.publish()

    def offer(self, step: int, metrics: Mapping[str, Any]) -> bool:
        """Whether a step, by its line of metrics.jsonl, is better than all before it; it is the best from now on."""
        value = metrics.get(f"eval/{self.metric}")
        if value is None:
            return False
        sign = -1 if self.metric in LOWER_IS_BETTER else 1
        if self.value is not None and sign * value <= sign * self.value:
            return False
        self.step, self.value = step, value
        return True

    def publish(self) -> None:
        """Say in best.json what is best, when its checkpoint is complete."""
        best = {"step": self.step, "metric": self.metric, "value": self.value}
        self.run.write_best(None if self.step is None else best)

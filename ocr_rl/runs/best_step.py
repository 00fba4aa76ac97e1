"""The best step of a run so far, by a metric of its held-out evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ocr_rl.metric_names import LOWER_IS_BETTER
from ocr_rl.runs.folder import RunFolder


class BestStep:
    """The best step so far; the first of equals. The start of the run counts as step 0.

    It follows from the start, metrics.jsonl and the existing checkpoints alone; best.json is written for other
    programs, and names only a complete checkpoint. So a run that is killed between any two writes continues with the
    same best step.
    """

    def __init__(self, run: RunFolder, metric: str, start: Mapping[str, Any] | None = None) -> None:
        """Begins with `start`, the line of step 0, and those that `run` has logged. An empty metric has no best step.

        Only steps that still have a checkpoint count: if somebody deleted the best one, the next best takes its place.
        """
        self.run, self.metric = run, metric
        self.step: int | None = None
        self.value: float | None = None
        for metrics in [*filter(None, [start]), *(logged.metrics for logged in run.logged())]:
            if run.checkpoint(metrics["step"]).is_dir():
                self.offer(metrics["step"], metrics)
        self.publish()

    def offer(self, step: int, metrics: Mapping[str, Any]) -> bool:
        """Whether a step, by its line of metrics.jsonl, is better than all before it. If so, it becomes the best."""
        value = metrics.get(f"eval/{self.metric}")
        if value is None:
            return False
        sign = -1 if self.metric in LOWER_IS_BETTER else 1
        if self.value is not None and sign * value <= sign * self.value:
            return False
        self.step, self.value = step, value
        return True

    def publish(self) -> None:
        """Write the best step to best.json, once its checkpoint is complete."""
        best = {"step": self.step, "metric": self.metric, "value": self.value}
        self.run.write_best(None if self.step is None else best)

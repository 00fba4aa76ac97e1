"""Steps that teach nothing: found in the metrics, said on the terminal, and shown in the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LASTING = 3
"""Steps in a row after which a user should know."""

EMPTY = "every completion is empty; look at rollouts/, and begin with a model that reads such pages or with sft"
CUT_OFF = "every completion is cut off at rollout.max_tokens; raise it"
EQUAL = (
    "all completions of each page have the same reward; look at rollouts/, and try other pages, a reward with "
    "more steps in it, or a higher rollout.temperature"
)
NO_GRADIENT = "the gradient is 0; no weight learns from the data"


@dataclass(frozen=True)
class Stretch:
    """Steps in a row that teach nothing for the same reason."""

    reason: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"steps {self.first} to {self.last} teach nothing: {self.reason}"


class IdleSteps:
    """Counts steps in a row."""

    def __init__(self) -> None:
        self._current: Stretch | None = None

    def add(self, metrics: Mapping[str, Any]) -> Stretch | None:
        """The stretch that this step belongs to, once it lasts."""
        reason, step, before = reason_of(metrics), metrics["step"], self._current
        if reason is None:
            self._current = None
            return None
        first = before.first if before is not None and before.reason == reason else step
        self._current = Stretch(reason, first, step)
        return self._current if step - first + 1 >= LASTING else None


def reason_of(metrics: Mapping[str, Any]) -> str | None:
    """Why a step teaches nothing: the first cause, since the others follow from it."""
    cut_off = metrics.get("truncated_fraction")
    if cut_off == 0 and metrics.get("completion_length") == 1:  # the end token
        return EMPTY
    if cut_off == 1:
        return CUT_OFF
    if metrics.get("reward_std") == 0:
        return EQUAL
    if metrics.get("grad_norm") == 0:
        return NO_GRADIENT
    return None


def lasting(rows: Iterable[Mapping[str, Any]]) -> list[Stretch]:
    """All stretches that last, from the lines of metrics.jsonl."""
    steps = IdleSteps()
    found: dict[tuple[str, int], Stretch] = {}
    for row in rows:
        if (stretch := steps.add(row)) is not None:
            found[stretch.reason, stretch.first] = stretch
    return list(found.values())

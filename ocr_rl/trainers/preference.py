"""Learning from preferences: taken fresh from the policy at each step, as in GRPO, or from a file.

One optimiser step is made of a batch; what it learns, `preference_learners` says.

What this is not: the reference does not move, and a file's preferences are not weighted by how likely the policy is to
write them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Generic, Protocol

import torch
from torch import Tensor

from ocr_rl.models.text_encoder import Writer
from ocr_rl.rewards.rewarder import ScoredGroup
from ocr_rl.rollouts.engine import Engine
from ocr_rl.rollouts.scoring import Scorer
from ocr_rl.trainer_state import Extras
from ocr_rl.trainers.loop import Method, StepResult, epochs
from ocr_rl.trainers.preference_learners import Example, Learner
from ocr_rl.trainers.rollouts import Batch, Rollouts, rollout_metrics, rollout_rows
from ocr_rl.types import Completion, Page


@dataclass(frozen=True)
class Taken(Generic[Example]):
    """What a step learns from."""

    examples: list[Example]
    batch: Batch | None
    """The groups that they were chosen from; None: they were in a file."""


class Source(Protocol[Example]):
    def start(self, done: int) -> None:
        """Go on after step `done`."""

    def take(self, step: int) -> Taken[Example]:
        """The examples of a step; steps are asked for in order."""

    def settle(self) -> None:
        """Give the engine the policy's current weights."""

    def close(self) -> None: ...


class Fresh(Generic[Example]):
    """Chosen from groups that the policy of the step has sampled."""

    def __init__(self, learner: Learner[Example], rollouts: Rollouts) -> None:
        self._learner, self._rollouts = learner, rollouts

    def start(self, done: int) -> None:
        self._rollouts.start(done)

    def take(self, step: int) -> Taken[Example]:
        batch = self._rollouts.take(step)
        return Taken(self._learner.choose(batch.groups), batch)

    def settle(self) -> None:
        self._rollouts.settle()

    def close(self) -> None:
        self._rollouts.close()


class Stored(Generic[Example]):
    """All examples of rollout.pages_per_step pages at a time, each page once in an epoch."""

    def __init__(self, learner: Learner[Example], engine: Engine, examples: Sequence[Example]) -> None:
        self._learner, self._engine = learner, engine
        self._writer = Writer(learner.policy)
        recipe = learner.recipe
        self._max_tokens = recipe.rollout.max_tokens
        pages = [[self._written(example) for example in page] for page in of_pages(examples)]
        learner.begin(pages)
        self._batches: Iterator[list[list[Example]]] = epochs(pages, recipe.rollout.pages_per_step, recipe.train.seed)

    def start(self, done: int) -> None:
        self._batches = islice(self._batches, done, None)

    def take(self, step: int) -> Taken[Example]:
        return Taken([example for page in next(self._batches) for example in page], None)

    def settle(self) -> None:
        self._engine.sync(self._learner.policy)

    def close(self) -> None:
        pass

    def _written(self, example: Example) -> Example:
        """With tokens, which a file has not."""
        completions: dict[str, Any] = {
            name: self._writer.completion(value.text, value.finished, self._max_tokens)
            for name, value in vars(example).items()
            if isinstance(value, Completion)
        }
        return replace(example, **completions)


def fingerprint(examples: Iterable[Example]) -> float:
    """A whole number, the same for the same examples in the same order."""
    digest = hashlib.sha256()
    for example in examples:
        told = {name: value for name, value in vars(example).items() if name != "page"}
        digest.update(f"{example.page.id!r} {told!r}\n".encode("utf-8", "surrogatepass"))
    return float(int.from_bytes(digest.digest()[:6], "big"))


def of_pages(examples: Iterable[Example]) -> list[list[Example]]:
    """Those of each page together, in the order in which the pages appear."""
    pages: dict[str, list[Example]] = {}
    for example in examples:
        pages.setdefault(example.page.id, []).append(example)
    return list(pages.values())


class Preference(Method, Generic[Example]):
    """Take examples, learn from them, tell of it."""

    def __init__(self, learner: Learner[Example], source: Source[Example], stored: float | None = None) -> None:
        """`stored` tells one file's examples from another's."""
        self.learner, self.source = learner, source
        self.optimizer = learner.optimizer
        self._stored = stored
        self.extras = Extras(numbers={} if stored is None else {"examples": stored})

    @classmethod
    def fresh(
        cls, learner: Learner[Example], engine: Engine, pages: Sequence[Page], scorer: Scorer
    ) -> Preference[Example]:
        """From groups that the policy of the step samples."""
        return cls(learner, Fresh(learner, Rollouts(learner.policy, engine, pages, scorer, learner.recipe)))

    @classmethod
    def stored(cls, learner: Learner[Example], engine: Engine, examples: Sequence[Example]) -> Preference[Example]:
        """From a file."""
        return cls(learner, Stored(learner, engine, examples), fingerprint(examples))

    def start(self, done: int) -> None:
        """Raises ValueError if the steps until then have learned from another file."""
        if self.extras.numbers.get("examples") != self._stored:
            raise ValueError(
                f"the preferences in {self.learner.recipe.pairs.path} have changed since the run began. "
                "Bring the old file back, or start another run"
            )
        self.source.start(done)

    def step(self, step: int, rate: float) -> StepResult:
        taken = self.source.take(step)
        began = time.monotonic()
        metrics = self.learner.update(of_pages(taken.examples), rate)
        seconds = time.monotonic() - began
        if taken.batch is None:
            pages = len(of_pages(taken.examples))
            return StepResult(metrics | {"pages": pages, "time/learn": round(seconds, 3)})
        groups = taken.batch.groups
        given = {example.page.id for example in taken.examples}
        metrics["unused_fraction"] = 1 - sum(group.group.page.id in given for group in groups) / len(groups)
        rows = rollout_rows(groups, self._advantages(groups, taken.examples))
        return StepResult(metrics | rollout_metrics(taken.batch, seconds), rows)

    def settle(self) -> None:
        self.source.settle()

    def close(self) -> None:
        self.source.close()

    def _advantages(self, groups: Sequence[ScoredGroup], examples: Sequence[Example]) -> Tensor:
        """(P, G): how often a completion is moved towards less how often away; 0 for one that takes no part."""
        count: dict[int, float] = {}
        for example in examples:
            for completion, side in self.learner.sides(example):
                count[id(completion)] = count.get(id(completion), 0.0) + side
        return torch.tensor([[count.get(id(c), 0.0) for c in group.group.completions] for group in groups])

"""Where preference examples come from: fresh rollouts or files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Generic, Protocol

from ocr_rl.algorithms.preference.learner import Example, PreferenceLearner
from ocr_rl.models.text_encoder import TextEncoder
from ocr_rl.rollouts.engine import Engine
from ocr_rl.training.batching import epochs
from ocr_rl.training.rollout_batches import Rollouts
from ocr_rl.training.rollout_metrics import Batch
from ocr_rl.types import Completion


@dataclass(frozen=True)
class ExampleBatch(Generic[Example]):
    """What a step learns from."""

    examples: list[Example]
    batch: Batch | None
    """The groups that they were chosen from; None: they were in a file."""


class Source(Protocol[Example]):
    def start(self, done: int) -> None:
        """Go on after step `done`."""

    def take(self, step: int) -> ExampleBatch[Example]:
        """The examples of a step; steps are asked for in order."""

    def sync_engine(self) -> None:
        """Give the engine the policy's current weights."""

    def close(self) -> None: ...


class Fresh(Generic[Example]):
    """Chosen from groups that the policy of the step has sampled."""

    def __init__(self, learner: PreferenceLearner[Example], rollouts: Rollouts) -> None:
        self._learner, self._rollouts = learner, rollouts

    def start(self, done: int) -> None:
        self._rollouts.start(done)

    def take(self, step: int) -> ExampleBatch[Example]:
        batch = self._rollouts.take(step)
        return ExampleBatch(self._learner.choose(batch.groups), batch)

    def sync_engine(self) -> None:
        self._rollouts.sync_engine()

    def close(self) -> None:
        self._rollouts.close()


class Stored(Generic[Example]):
    """All examples of rollout.pages_per_step pages at a time, each page once in an epoch."""

    def __init__(self, learner: PreferenceLearner[Example], engine: Engine, examples: Sequence[Example]) -> None:
        self._learner, self._engine = learner, engine
        self._writer = TextEncoder(learner.policy)
        recipe = learner.recipe
        self._max_tokens = recipe.rollout.max_tokens
        pages = [[self._written(example) for example in page] for page in of_pages(examples)]
        learner.begin(pages)
        self._batches: Iterator[list[list[Example]]] = epochs(pages, recipe.rollout.pages_per_step, recipe.train.seed)

    def start(self, done: int) -> None:
        self._batches = islice(self._batches, done, None)

    def take(self, step: int) -> ExampleBatch[Example]:
        return ExampleBatch([example for page in next(self._batches) for example in page], None)

    def sync_engine(self) -> None:
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
        content = {name: value for name, value in vars(example).items() if name != "page"}
        digest.update(f"{example.page.id!r} {content!r}\n".encode("utf-8", "surrogatepass"))
    return float(int.from_bytes(digest.digest()[:6], "big"))


def of_pages(examples: Iterable[Example]) -> list[list[Example]]:
    """Those of each page together, in the order in which the pages appear."""
    pages: dict[str, list[Example]] = {}
    for example in examples:
        pages.setdefault(example.page.id, []).append(example)
    return list(pages.values())

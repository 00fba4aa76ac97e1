"""Where preference examples come from: fresh rollouts or a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Generic, Protocol

from ocr_rl.algorithms.preference.learner import Example, PreferenceLearner
from ocr_rl.models.prompt import Prompt
from ocr_rl.models.text_encoder import TextEncoder
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.rollouts.engine import Engine
from ocr_rl.training.batching import epochs
from ocr_rl.training.readable import next_readable
from ocr_rl.training.rollout_batches import Rollouts
from ocr_rl.training.rollout_metrics import Batch
from ocr_rl.types import Completion


@dataclass(frozen=True)
class ExampleBatch(Generic[Example]):
    """The examples of a step."""

    examples: list[Example]
    batch: Batch | None
    """The groups that they were chosen from; None: they come from a file."""
    drawn: int
    """Batches of pages drawn since the run began."""
    refused: int = 0
    """Pages of a file's examples that were left out."""
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    """Of pages that were read already, by page id."""


class Source(Protocol[Example]):
    def start(self, drawn: int) -> None:
        """Continue after this many batches of pages."""

    def take(self, step: int) -> ExampleBatch[Example]:
        """The examples of a step. Called for one step after another."""

    def examples_of(self, groups: Sequence[ScoredGroup]) -> list[list[Example]]:
        """For a dry run, the examples of each page: made of these groups, or all those of a file."""

    def sync_engine(self) -> None:
        """Give the engine the policy's current weights."""

    def close(self) -> None: ...


class Fresh(Generic[Example]):
    """Examples chosen from groups that the policy samples in each step."""

    def __init__(self, learner: PreferenceLearner[Example], rollouts: Rollouts) -> None:
        self._learner, self._rollouts = learner, rollouts

    def start(self, drawn: int) -> None:
        self._rollouts.start(drawn)

    def take(self, step: int) -> ExampleBatch[Example]:
        batch = self._rollouts.take(step)
        return ExampleBatch(self._learner.choose(batch.groups), batch, batch.drawn)

    def examples_of(self, groups: Sequence[ScoredGroup]) -> list[list[Example]]:
        pages = of_pages(self._learner.choose(groups))
        self._learner.begin(pages)
        return pages

    def sync_engine(self) -> None:
        self._rollouts.sync_engine()

    def close(self) -> None:
        self._rollouts.close()


class Stored(Generic[Example]):
    """Examples of a file: all those of rollout.pages_per_step pages at a time, each page once per epoch.

    Those of pages that cannot be read are left out.
    """

    def __init__(self, learner: PreferenceLearner[Example], engine: Engine, examples: Sequence[Example]) -> None:
        self._learner, self._engine = learner, engine
        self._encoder = TextEncoder(learner.policy)
        recipe = learner.recipe
        self._max_tokens = recipe.rollout.max_tokens
        self._pages = [[self._encoded(example) for example in page] for page in of_pages(examples)]
        self._unread = learner.begin(self._pages)
        per_step, seed = recipe.rollout.pages_per_step, recipe.train.seed
        self._batches: Iterator[list[list[Example]]] = epochs(self._pages, per_step, seed)
        self._batches_per_epoch = 1 + len(self._pages) // per_step
        self._drawn = 0

    def start(self, drawn: int) -> None:
        self._batches = islice(self._batches, drawn, None)
        self._drawn = drawn

    def take(self, step: int) -> ExampleBatch[Example]:
        batch = next_readable(
            self._batches, lambda own: own[0].page, self._learner.policy, self._batches_per_epoch, self._unread
        )
        self._drawn += batch.drawn
        examples = [example for own in batch.items for example in own]
        return ExampleBatch(examples, None, self._drawn, batch.refused, batch.prompts)

    def examples_of(self, groups: Sequence[ScoredGroup]) -> list[list[Example]]:
        return self._pages

    def sync_engine(self) -> None:
        self._engine.sync(self._learner.policy)

    def close(self) -> None:
        pass

    def _encoded(self, example: Example) -> Example:
        """With token ids, which a file does not have."""
        completions: dict[str, Any] = {
            name: self._encoder.completion(value.text, value.finished, self._max_tokens)
            for name, value in vars(example).items()
            if isinstance(value, Completion)
        }
        return replace(example, **completions)


def fingerprint(examples: Iterable[Example]) -> float:
    """A whole number that identifies these examples in this order."""
    digest = hashlib.sha256()
    for example in examples:
        content = {name: value for name, value in vars(example).items() if name != "page"}
        digest.update(f"{example.page.id!r} {content!r}\n".encode("utf-8", "surrogatepass"))
    return float(int.from_bytes(digest.digest()[:6], "big"))


def of_pages(examples: Iterable[Example]) -> list[list[Example]]:
    """The examples grouped by page, in the order in which the pages first appear."""
    pages: dict[str, list[Example]] = {}
    for example in examples:
        pages.setdefault(example.page.id, []).append(example)
    return list(pages.values())

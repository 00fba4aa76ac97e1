"""Scores completions while others are still being generated, in other processes or in the trainer's.

The scores are those of `RewardFunction.score_groups`, in whatever order completions arrive and processes answer.
`ocr_verifiers.rewards.scoring_pool` handles verifiers that hang or crash.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ocr_rl.rewards.reward_function import TIMEOUT_S, RewardFunction, ScoredGroup, scored_group
from ocr_rl.types import Completion, Group, Page
from ocr_verifiers import Score, ScoringPool
from ocr_verifiers.rewards.functions import FunctionError
from ocr_verifiers.rewards.scoring_pool import KnownPage

if TYPE_CHECKING:
    from ocr_rl.rollouts.engine import Engine, Sampling


@dataclass(frozen=True)
class RolledOut:
    """The scored groups of a batch of pages, and where the time went."""

    groups: list[ScoredGroup]
    """In page order, without refused pages."""
    refused: list[tuple[Page, str]]
    """Refused pages and the engine's reasons."""
    generate_s: float
    """Seconds until the last completion, without scoring in this process."""
    score_s: float
    """Seconds that scoring added: the wait after the last completion, and scoring in this process."""


class GroupScorer:
    """Scores completions in `processes` processes, which start when they are needed, or in this process."""

    def __init__(self, reward_function: RewardFunction, processes: int, timeout: float | None = TIMEOUT_S) -> None:
        """With 0 `processes` this process scores, without a time limit.

        `timeout` is in seconds per completion; a completion that takes longer has reward 0 and a `trouble`.
        """
        if processes < 0:
            raise ValueError(
                f"processes is {processes}; write 0 to score in the trainer's process, or a number of processes"
            )
        self.reward_function = reward_function
        self._pool = ScoringPool(reward_function.rubric, processes, timeout) if processes else None
        self._known: WeakValueDictionary[str, KnownPage] = WeakValueDictionary()
        """By page id, while a process keeps it: it does not prepare the same object again."""

    def begin(self, page: Page, group_size: int) -> OpenGroup:
        """A group whose completions are still to come. Raises ValueError for a page that cannot be scored."""
        if self._pool is None:
            scoring: _InThisProcess | _InPool = _InThisProcess(self.reward_function, page)
            return OpenGroup(page, group_size, scoring, self.reward_function)
        known = self._known.get(page.id)
        if known is None:
            self._known[page.id] = known = self.reward_function.known(page)
        return OpenGroup(page, group_size, _InPool(self._pool, known), self.reward_function)

    def roll_out(
        self, engine: Engine, pages: Sequence[Page], sampling: Sampling, seed: int, permute: Random | None = None
    ) -> RolledOut:
        """Generate a group for each page, each completion scored as soon as it has ended.

        `permute` shuffles the rewards within each group.

        Raises:
            EngineError: the engine cannot continue.
            ValueError: a page cannot be scored, or takes too long to prepare.
            RuntimeError: a verifier has a bug, or a completion ended its process twice.
        """
        from ocr_rl.rollouts.engine import Refused

        began = time.monotonic()
        inline = 0.0
        groups = [self.begin(page, sampling.group_size) for page in pages]
        refused: dict[int, str] = {}
        for event in engine.stream(pages, sampling, seed):
            if isinstance(event, Refused):
                refused[event.page] = event.why
            else:
                arrived = time.monotonic()
                groups[event.page].add(event.row, event.completion)
                inline += time.monotonic() - arrived
        ended = time.monotonic()
        scored = [group.result(permute) for i, group in enumerate(groups) if i not in refused]
        score_s = inline + time.monotonic() - ended
        return RolledOut(
            scored, [(pages[i], why) for i, why in sorted(refused.items())], ended - began - inline, score_s
        )

    def close(self) -> None:
        """End the processes, busy or not."""
        if self._pool is not None:
            self._pool.close()

    def __enter__(self) -> GroupScorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class OpenGroup:
    """Collects and scores the completions of one page as they come; identical ones are scored once."""

    def __init__(
        self,
        page: Page,
        group_size: int,
        scoring: _InThisProcess | _InPool | None = None,
        reward_function: RewardFunction | None = None,
    ) -> None:
        """Without `scoring` and `reward_function`, completions are not scored."""
        self.page, self._reward_function = page, reward_function
        self._completions: list[Completion | None] = [None] * group_size
        self._scoring = scoring
        self._scores: dict[tuple[str, bool], Future[list[Score]]] = {}

    def add(self, row: int, completion: Completion) -> None:
        """`row` is the completion's number in the group."""
        assert self._completions[row] is None, f"{self.page.id}: completion {row} came twice"
        self._completions[row] = completion
        key = completion.text, completion.finished
        if self._scoring is not None and key not in self._scores:
            self._scores[key] = self._scoring.score(*key)

    @property
    def ready(self) -> bool:
        """All completions have come and are scored."""
        return None not in self._completions and all(scores.done() for scores in self._scores.values())

    def group(self) -> Group:
        completions = [completion for completion in self._completions if completion is not None]
        assert len(completions) == len(self._completions), f"{self.page.id}: {len(completions)} completions came"
        return Group(self.page, completions)

    def result(self, permute: Random | None = None) -> ScoredGroup:
        """Wait for missing scores; raises what scoring raised."""
        group = self.group()
        try:
            scores = [self._scores[c.text, c.finished].result()[0] for c in group.completions]
            if self._reward_function is not None:
                scores = self._reward_function.compare_siblings(group, scores)
        except FunctionError as error:
            raise error.at(self.page.id) from error
        except ValueError as error:
            raise ValueError(f"{self.page.id}: {error}") from error
        return scored_group(group, scores, permute)


class _InThisProcess:
    def __init__(self, reward_function: RewardFunction, page: Page) -> None:
        self._page = reward_function.prepared(page)

    def score(self, text: str, finished: bool) -> Future[list[Score]]:
        done: Future[list[Score]] = Future()
        done.set_result([self._page.score(text, finished)])
        return done


class _InPool:
    def __init__(self, pool: ScoringPool, page: KnownPage) -> None:
        self._pool, self._page = pool, page

    def score(self, text: str, finished: bool) -> Future[list[Score]]:
        return self._pool.submit(self._page, [(text, finished)])

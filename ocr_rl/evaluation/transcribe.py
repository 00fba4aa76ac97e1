"""What is evaluated: transcriptions by an engine, greedy or sampled, or from a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ocr_rl.types import Completion, Group, Page

if TYPE_CHECKING:
    from ocr_rl.rollouts.engine import Engine

ProgressCallback = Callable[[int], object]
"""Told how many pages are done."""


def transcribe(
    engine: Engine, pages: Sequence[Page], max_tokens: int, report: ProgressCallback = lambda done: None
) -> list[Completion]:
    """Greedy, in page order."""
    return [group.completions[0] for group in sample(engine, pages, 1, 0.0, max_tokens, 0, report)]


def sample(
    engine: Engine,
    pages: Sequence[Page],
    samples: int,
    temperature: float,
    max_tokens: int,
    seed: int,
    report: ProgressCallback = lambda done: None,
) -> list[Group]:
    """`samples` transcriptions of each page, in page order. Raises ValueError for a page that cannot be read."""
    from ocr_rl.data.unlabelled import Unread
    from ocr_rl.rollouts.engine import Sampling
    from ocr_rl.rollouts.ordered import in_order

    sampling = Sampling(group_size=samples, temperature=temperature, max_tokens=max_tokens)
    groups: list[Group] = []
    for result in in_order(engine, pages, sampling, seed):
        if isinstance(result, Unread):
            raise ValueError(f"{result.id}: {result.why}")
        assert isinstance(result, Group), "nothing was to be scored"
        groups.append(result)
        report(len(groups))
    return groups

"""Completions to evaluate, from an engine: one greedy transcription of each page, or several samples."""

from __future__ import annotations

from collections.abc import Sequence

from ocr_rl.data.unlabelled import Unread
from ocr_rl.rollouts.console import ProgressCallback
from ocr_rl.rollouts.engine import Engine, Sampling
from ocr_rl.rollouts.ordered import in_order
from ocr_rl.types import Completion, Group, Page


def transcribe_pages(
    engine: Engine, pages: Sequence[Page], max_tokens: int, report: ProgressCallback = lambda done: None
) -> list[Completion]:
    """Greedy, in page order."""
    greedy = Sampling(group_size=1, temperature=0.0, max_tokens=max_tokens)
    return [group.completions[0] for group in sample_pages(engine, pages, greedy, 0, report)]


def sample_pages(
    engine: Engine,
    pages: Sequence[Page],
    sampling: Sampling,
    seed: int,
    report: ProgressCallback = lambda done: None,
) -> list[Group]:
    """The group of each page, in page order. Raises ValueError if a page cannot be read."""
    groups: list[Group] = []
    for result in in_order(engine, pages, sampling, seed):
        if isinstance(result, Unread):
            raise ValueError(f"{result.id}: {result.why}")
        assert isinstance(result, Group), "nothing was to be scored"
        groups.append(result)
        report(len(groups))
    return groups

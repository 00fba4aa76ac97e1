"""Completions to evaluate, from an engine: one greedy transcription of each page, or several samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ocr_rl.data.unlabelled import Unread
from ocr_rl.rollouts.console import ProgressCallback
from ocr_rl.rollouts.engine import Engine, Sampling
from ocr_rl.rollouts.ordered import in_order
from ocr_rl.types import Completion, Group, Page

Result = TypeVar("Result")


def transcribe_pages(
    engine: Engine, pages: Sequence[Page], max_tokens: int, report: ProgressCallback = lambda done: None
) -> list[Completion | Unread]:
    """Greedy, in page order."""
    greedy = Sampling(group_size=1, temperature=0.0, max_tokens=max_tokens)
    groups = sample_pages(engine, pages, greedy, 0, report)
    return [group if isinstance(group, Unread) else group.completions[0] for group in groups]


def sample_pages(
    engine: Engine,
    pages: Sequence[Page],
    sampling: Sampling,
    seed: int,
    report: ProgressCallback = lambda done: None,
) -> list[Group | Unread]:
    """The group of each page, in page order, or why the page cannot be read."""
    groups: list[Group | Unread] = []
    for result in in_order(engine, pages, sampling, seed):
        assert isinstance(result, (Group, Unread)), "nothing was to be scored"
        groups.append(result)
        report(len(groups))
    return groups


def readable(
    pages: Sequence[Page], results: Sequence[Result | Unread]
) -> tuple[list[Page], list[Result], list[Unread]]:
    """The pages that could be read, their results, and the others. Raises ValueError if no page could be read."""
    unread = [result for result in results if isinstance(result, Unread)]
    if pages and len(unread) == len(pages):
        raise ValueError(f"none of the {len(pages)} pages can be read; {unread[0].id}: {unread[0].why}")
    pairs = [(page, result) for page, result in zip(pages, results, strict=True) if not isinstance(result, Unread)]
    return [page for page, _ in pairs], [result for _, result in pairs], unread

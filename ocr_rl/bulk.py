"""Many pages through an engine: taken as there is room, given back in page order, whatever ends first.

Memory holds the pages that are under way and those that ended before an earlier one, however many there are in all.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ocr_rl.data.unlabelled import Unread
from ocr_rl.rewards import ScoredGroup
from ocr_rl.rollout import Engine, Refused, Sampling
from ocr_rl.scoring_pool import OpenGroup, Scorer
from ocr_rl.types import Group, Page

Result = ScoredGroup | Group | Unread
"""What became of a page: its group, scored or not, or why there is none."""


@dataclass
class _Slot:
    """A page's place in the order."""

    group: OpenGroup
    number: int
    """Of the page in the engine's stream."""
    refused: str | None = None


def in_order(
    engine: Engine, pages: Iterable[Page | Unread], sampling: Sampling, seed: int, scorer: Scorer | None = None
) -> Generator[Result, None, None]:
    """The result of each page, scored if there is a `scorer`.

    Raises:
        EngineFailed: the engine cannot go on.
        ValueError, RuntimeError: scoring failed, see `Scorer.roll_out`.
    """
    waiting: deque[_Slot | Unread] = deque()
    streamed: dict[int, _Slot] = {}

    def feed() -> Iterator[Page]:
        number = 0
        for page in pages:
            if isinstance(page, Unread):
                waiting.append(page)
                continue
            size = sampling.group_size
            slot = _Slot(OpenGroup(page, size) if scorer is None else scorer.begin(page, size), number)
            streamed[number] = slot
            waiting.append(slot)
            number += 1
            yield page

    def first() -> Result:
        slot = waiting.popleft()
        if isinstance(slot, Unread):
            return slot
        del streamed[slot.number]
        if slot.refused is not None:
            return Unread(slot.group.page.id, slot.refused)
        return slot.group.group() if scorer is None else slot.group.result()

    for event in engine.stream(feed(), sampling, seed):
        if isinstance(event, Refused):
            streamed[event.page].refused = event.why
        else:
            streamed[event.page].group.add(event.row, event.completion)
        while waiting and (isinstance(waiting[0], Unread) or waiting[0].refused is not None or waiting[0].group.ready):
            yield first()
    while waiting:
        yield first()


def group_row(group: ScoredGroup | Group) -> dict[str, Any]:
    """A line that `ocr-verify groups` reads, with what the engine and the rubric said of each completion."""
    scored = group if isinstance(group, ScoredGroup) else None
    group = group.group if isinstance(group, ScoredGroup) else group
    completions = group.completions
    row = page_row(group.page) | {
        "completions": [c.text for c in completions],
        "finished": [c.finished for c in completions],
        "finish_reasons": [c.finish_reason for c in completions],
        "tokens": [len(c.token_ids) for c in completions],
        "sum_logprobs": [_finite(math.fsum(c.sampling_logprobs)) for c in completions],
    }
    if scored is not None:
        row["rewards"] = list(scored.rewards)
        row["parts"] = [dict(score.parts) for score in scored.scores]
    return row


def page_row(page: Page) -> dict[str, Any]:
    """What `ocr-verify groups` wants to know of a page."""
    row: dict[str, Any] = {"id": page.id}
    if page.text is not None:
        row["reference"] = page.text
    if page.tests:
        row["tests"] = [dict(test) for test in page.tests]
    return row


def _finite(number: float) -> float | None:
    """JSON has no infinities."""
    return number if math.isfinite(number) else None

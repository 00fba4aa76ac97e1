"""Results of many pages in page order, in whatever order the engine finishes them.

Only the open pages are in memory, and those that ended before an earlier one, however many pages there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from ocr_rl.data.unlabelled import Unread
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.rollouts.engine import Engine, Refused, Sampling
from ocr_rl.rollouts.scoring import GroupScorer, OpenGroup
from ocr_rl.types import Group, Page

Result = ScoredGroup | Group | Unread
"""The result of a page: its group, scored or not, or why there is none."""


@dataclass
class _Slot:
    """A page that waits for its turn."""

    group: OpenGroup
    number: int
    """The page's number in the engine's stream."""
    refused: str | None = None


def in_order(
    engine: Engine, pages: Iterable[Page | Unread], sampling: Sampling, seed: int, scorer: GroupScorer | None = None
) -> Generator[Result, None, None]:
    """The result of each page, in page order, scored if there is a `scorer`.

    Raises:
        EngineError: the engine cannot continue.
        ValueError, RuntimeError: scoring failed, see `GroupScorer.roll_out`.
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

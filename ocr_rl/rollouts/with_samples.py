"""Greedy completions with samples beside them, for confidences and the consensus of several readings."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from itertools import count, islice

from ocr_rl.data.unlabelled import Unread
from ocr_rl.rollouts.engine import Engine, Sampling
from ocr_rl.rollouts.ordered import in_order
from ocr_rl.seeds import derive
from ocr_rl.types import Group, Page

PAGES_AT_ONCE = 64
"""That are read greedily before they are sampled."""


def greedy_and_samples(
    engine: Engine, pages: Iterable[Page | Unread], sampling: Sampling, seed: int
) -> Generator[Group | Unread, None, None]:
    """For each page its greedy completion and then the samples, in one group; pages in order.

    Raises EngineError as `in_order`.
    """
    greedy = Sampling(group_size=1, temperature=0.0, max_tokens=sampling.max_tokens)
    waiting = iter(pages)
    for number in count():
        if not (chunk := list(islice(waiting, PAGES_AT_ONCE))):
            return
        first = list(in_order(engine, chunk, greedy, 0))
        drawn = in_order(engine, chunk, sampling, derive(seed, "samples", number))
        for one, others in zip(first, drawn, strict=True):
            if isinstance(one, Group) and isinstance(others, Group):
                yield Group(one.page, [*one.completions, *others.completions])
            else:
                unread = others if isinstance(one, Group) else one
                assert isinstance(unread, Unread), "nothing was to be scored"
                yield unread

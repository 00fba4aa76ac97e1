"""Pages that can be read, for algorithms that learn stored texts: a broken page costs itself, not the run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tqdm import tqdm

from ocr_rl import distributed
from ocr_rl.data.images import ImageError
from ocr_rl.errors import TrainingStoppedError
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import Prompt
from ocr_rl.types import Page

Item = TypeVar("Item")
NO_PROMPTS: Mapping[str, Prompt] = {}
NO_REASONS: Mapping[str, str] = {}


@dataclass(frozen=True)
class ReadableBatch(Generic[Item]):
    """The items of a step whose pages can be read."""

    items: list[Item]
    prompts: Mapping[str, Prompt]
    """Of the pages that this process learns from, by page id."""
    refused: int
    """Pages that were left out."""
    drawn: int
    """Batches drawn: more than one, if no page of the first could be read."""


def next_readable(
    batches: Iterator[list[Item]],
    page_of: Callable[[Item], Page],
    policy: Policy,
    limit: int,
    unread: Mapping[str, str] = NO_REASONS,
) -> ReadableBatch[Item]:
    """The next batch without the pages that cannot be read, which are named on stderr.

    If none can be read, another batch is drawn. `unread` says why some cannot be learned, by page id.

    Raises:
        TrainingStoppedError: no page of `limit` batches can be read.
    """
    refused = 0
    for drawn in range(1, limit + 1):
        items = next(batches)
        pages = [page_of(item) for item in items]
        prompts, found = read_prompts(policy, [page for page in pages if page.id not in unread])
        reasons = {**unread, **found}
        report_refused([(page, reasons[page.id]) for page in pages if page.id in reasons])
        kept = [item for item, page in zip(items, pages, strict=True) if page.id not in reasons]
        refused += len(items) - len(kept)
        if kept:
            for item in distributed.mine(kept) if len(kept) < len(items) else ():  # the shares have changed
                page = page_of(item)
                if page.id not in prompts:
                    prompts[page.id] = policy.prompt(page)
            return ReadableBatch(kept, prompts, refused, drawn)
    raise TrainingStoppedError(f"none of the last {refused} pages could be read")


def read_prompts(policy: Policy, pages: Sequence[Page]) -> tuple[dict[str, Prompt], dict[str, str]]:
    """The prompts of this process's share of the pages, and why pages of any process cannot be read, by page id."""
    prompts: dict[str, Prompt] = {}
    refused = []
    for page in distributed.mine(pages):
        try:
            prompts[page.id] = policy.prompt(page)
        except ImageError as error:
            refused.append((page.id, error.reason))
    return prompts, dict(distributed.gather(refused))


def report_refused(refused: Sequence[tuple[Page, str]]) -> None:
    for page, why in refused if distributed.first() else ():
        tqdm.write(f"{page.id}: left out: {why}", file=sys.stderr)

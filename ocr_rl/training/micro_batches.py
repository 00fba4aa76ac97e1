"""A page's completions divided into micro-batches, and the reference's log probabilities of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from ocr_rl.models.padding import pad_rows
from ocr_rl.models.page_reader import PageReader
from ocr_rl.models.prompt import Prompt
from ocr_rl.models.reference import Reference
from ocr_rl.types import Completion


@dataclass(frozen=True)
class MicroBatch:
    """Completions of one page, of similar length. Tensors are (B, T), on the CPU."""

    rows: Sequence[int]
    """Their indices among the page's completions."""
    ids: Tensor
    mask: Tensor
    """True = trained on."""
    sampling_logprobs: Tensor


Batch = TypeVar("Batch", bound=MicroBatch)


@dataclass(frozen=True)
class PageTask(Generic[Batch]):
    """What to learn from one page's completions."""

    prompt: Prompt | None
    """None: the page is skipped, or another process learns from it."""
    batches: Sequence[Batch]


def by_update(pages: int, updates: int) -> list[int]:
    """The indices of a batch's pages, ordered by the optimiser step that learns from them."""
    return [i for part in range(updates) for i in range(part, pages, updates)]


def common_prefix(completions: Sequence[Completion]) -> int:
    """How many tokens all of them begin with."""
    shortest = min(len(completion.token_ids) for completion in completions)
    columns = zip(*(completion.token_ids for completion in completions), strict=False)
    return next((t for t, column in enumerate(columns) if len({*column}) > 1), shortest)


def cut(completions: Sequence[Completion], pad_id: int, max_tokens: int) -> list[MicroBatch]:
    """Completions of one page sorted by length, in micro-batches of at most `max_tokens` padded tokens.

    A longer completion gets a micro-batch to itself.
    """
    order = sorted(range(len(completions)), key=lambda i: len(completions[i].token_ids))
    chunks: list[list[int]] = [[]]
    for i in order:
        width = len(completions[i].token_ids)
        if chunks[-1] and (len(chunks[-1]) + 1) * width > max_tokens:
            chunks.append([])
        chunks[-1].append(i)
    result = []
    for chunk in chunks:
        ids, mask = pad_rows([list(completions[i].token_ids) for i in chunk], pad_id)
        sampling = pad_rows([list(completions[i].sampling_logprobs) for i in chunk], 0.0)[0]
        result.append(MicroBatch(chunk, ids, mask, sampling))
    return result


def reference_logprobs(
    reference: Reference, prompt: Prompt, batches: Sequence[MicroBatch], temperature: float
) -> list[Tensor]:
    """The reference's log probabilities of each batch, (B, T); it reads the page once.

    Not to be called between a forward pass with gradient and its backward pass.
    """
    with reference.policy() as frozen:
        reading = PageReader(frozen, prompt)
        return [reading.score(batch.ids, batch.mask, temperature).logprobs for batch in batches]

"""A page's completions, cut for the backward pass, and what a policy says of them from one reading of the page."""

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
    """Completions of one page, similar in length; the tensors (B, T) on the CPU."""

    rows: Sequence[int]
    """Their places among the page's completions."""
    ids: Tensor
    mask: Tensor
    """True = trained on."""
    sampling_logprobs: Tensor


Batch = TypeVar("Batch", bound=MicroBatch)


@dataclass(frozen=True)
class PageTask(Generic[Batch]):
    """What one page has to learn from its completions."""

    prompt: Prompt
    batches: Sequence[Batch]


def by_update(pages: int, updates: int) -> list[int]:
    """The places of a batch's pages, those of the same optimiser step one after another."""
    return [i for part in range(updates) for i in range(part, pages, updates)]


def cut(completions: Sequence[Completion], pad_id: int, most: int) -> list[MicroBatch]:
    """Completions of one page sorted by length, cut so that none holds more than `most` padded tokens."""
    order = sorted(range(len(completions)), key=lambda i: len(completions[i].token_ids))
    chunks: list[list[int]] = [[]]
    for i in order:
        width = len(completions[i].token_ids)
        if chunks[-1] and (len(chunks[-1]) + 1) * width > most:
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
    """Of each batch (B, T) by the reference, which reads the page once. Not while a gradient is under way."""
    with reference.policy() as frozen:
        reading = PageReader(frozen, prompt)
        return [reading.score(batch.ids, batch.mask, temperature).logprobs for batch in batches]

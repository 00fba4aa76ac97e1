"""Preference examples packed into micro-batches, a completion that several share only once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ocr_rl.models.padding import pad_rows
from ocr_rl.models.page_reader import PageReader
from ocr_rl.objectives.preference_losses import sequence_logprobs
from ocr_rl.types import Completion


@dataclass(frozen=True)
class PackedExamples:
    """A micro-batch of one page's examples, each completion once; on the CPU."""

    ids: Tensor
    """(B, T)."""
    mask: Tensor
    """(B, T)."""
    rows: Tensor
    """(K, n): the rows of the n completions of each of K examples."""
    examples: list[int]
    """K indices among the page's examples."""


def cut_examples(examples: Sequence[Sequence[Completion]], pad_id: int, max_tokens: int) -> list[PackedExamples]:
    """Examples of one page, the short ones first, in micro-batches of at most `max_tokens` padded tokens.

    An example is never divided; a longer one gets a micro-batch to itself.
    """
    widths = [max(len(c.token_ids) for c in example) for example in examples]
    chunks: list[tuple[list[int], dict[tuple[int, ...], int]]] = []
    for i in sorted(range(len(examples)), key=lambda i: widths[i]):
        keys = dict.fromkeys(tuple(c.token_ids) for c in examples[i])
        if not chunks or len(chunks[-1][1].keys() | keys) * widths[i] > max_tokens:
            chunks.append(([], {}))
        members, row_of = chunks[-1]
        members.append(i)
        for key in keys:
            row_of.setdefault(key, len(row_of))
    result = []
    for members, row_of in chunks:
        ids, mask = pad_rows([list(key) for key in row_of], pad_id)
        rows = torch.tensor([[row_of[tuple(c.token_ids)] for c in examples[i]] for i in members])
        result.append(PackedExamples(ids, mask, rows, members))
    return result


def totals(reading: PageReader, batch: PackedExamples, temperature: float, *, average: bool = False) -> Tensor:
    """Log probabilities of each example's completions, summed or averaged over their tokens: (K, n)."""
    logprobs = reading.score(batch.ids, batch.mask, temperature).logprobs
    own = sequence_logprobs(logprobs, batch.mask.to(logprobs.device), average=average)
    return own[batch.rows.to(own.device)]

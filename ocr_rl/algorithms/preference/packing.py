"""Preference examples packed into micro-batches."""

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
    """Completions of one page that are scored together, each once; on the CPU."""

    ids: Tensor
    """(B, T)."""
    mask: Tensor
    """(B, T)."""
    rows: Tensor
    """(K, n): which rows are the n completions of each of K examples."""
    examples: list[int]
    """K: which examples of the page these are."""


def cut_examples(examples: Sequence[Sequence[Completion]], pad_id: int, most: int) -> list[PackedExamples]:
    """Examples of one page, the short ones first, cut so that none holds more than `most` padded tokens.

    An example is not divided, and may hold more by itself.
    """
    widths = [max(len(c.token_ids) for c in example) for example in examples]
    chunks: list[tuple[list[int], dict[tuple[int, ...], int]]] = []
    for i in sorted(range(len(examples)), key=lambda i: widths[i]):
        keys = dict.fromkeys(tuple(c.token_ids) for c in examples[i])
        if not chunks or len(chunks[-1][1].keys() | keys) * widths[i] > most:
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
    """Log probabilities of each example's completions, summed over their tokens or averaged: (K, n)."""
    logprobs = reading.score(batch.ids, batch.mask, temperature).logprobs
    own = sequence_logprobs(logprobs, batch.mask.to(logprobs.device), average=average)
    return own[batch.rows.to(own.device)]

"""Confidence intervals from resampled documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ocr_rl.data.splits import document_of
from ocr_rl.evaluation.rates import Rate
from ocr_rl.evaluation.results import PageEvaluation

RESAMPLES = 2000
"""Draws of documents behind an interval."""


_CHUNK = 1_000_000
"""Numbers drawn at a time, which bounds the memory."""


Floats = npt.NDArray[np.float64]


class DocumentCounts(NamedTuple):
    """Per document (rows, by name) and rate (columns), what the document's pages add up to."""

    numerators: Floats
    denominators: Floats


def document_counts(results: Sequence[PageEvaluation], rates: Mapping[str, Rate]) -> DocumentCounts:
    ordered = sorted(results, key=lambda result: (document_of(result.page), result.page.id))
    row_of = {doc: row for row, doc in enumerate(dict.fromkeys(document_of(result.page) for result in ordered))}
    counts = np.zeros((2, len(row_of), len(rates)))
    for result in ordered:
        counts[:, row_of[document_of(result.page)]] += np.array([rate(result) for rate in rates.values()]).T
    return DocumentCounts(*counts)


def resampled_sums(counts: Floats, seed: int) -> Floats:
    """(D, K) counts -> (RESAMPLES, K) sums over D documents drawn with replacement.

    The draws depend on the seed and on D alone, so two systems on the same pages get the same draws.
    """
    n = len(counts)
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    sums = [
        rng.multinomial(n, np.full(n, 1 / n), size=min(rows, RESAMPLES - start)) @ counts
        for start in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(sums)


def percentile_interval(values: Floats) -> list[float]:
    """[low, high] of the middle 95 %; draws without a rate (NaN) are left out."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return [float(low), float(high)]


def safe_divide(numerators: Floats, denominators: Floats) -> Floats:
    """NaN where the denominator is 0."""
    return numerators / np.where(denominators > 0, denominators, np.nan)

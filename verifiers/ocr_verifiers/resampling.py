"""How certain a benchmark score is: a stratified bootstrap, and a paired permutation test between two candidates.

The score of a candidate is the mean over categories of passed / tests. Pages are resampled, not tests: the tests of
a page tend to pass and fail together, and intervals that treat them as independent are too narrow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
"""Shape (C, P): C categories, P pages."""

_CHUNK = 1_000_000
"""Numbers drawn at a time; limits memory."""


class Interval(NamedTuple):
    """From `low` to `high`, with 95 % confidence."""

    low: float
    high: float


def bootstrap_scores(passed: Counts, tests: Counts, samples: int, seed: int) -> npt.NDArray[np.float64]:
    """Category scores of `samples` benchmarks like this one, shape (samples, C); a row's mean is its overall score.

    Each category's pages are drawn with replacement, as many as the category has:
        score[s, c] = sum over pages of draws[s, p] * passed[c, p] / sum over pages of draws[s, p] * tests[c, p]
    The draws depend only on the seed and the number of pages, so all candidates get the same ones.
    """
    scores = np.empty((samples, len(tests)))
    for c, (category_passed, category_tests) in enumerate(zip(passed, tests, strict=True)):
        pages = np.flatnonzero(category_tests)
        rng = np.random.default_rng([seed, c])
        rows = max(1, _CHUNK // len(pages))
        for start in range(0, samples, rows):
            size = min(rows, samples - start)
            draws = rng.multinomial(len(pages), np.full(len(pages), 1 / len(pages)), size=size)
            scores[start : start + size, c] = (draws @ category_passed[pages]) / (draws @ category_tests[pages])
    return scores


def interval(scores: npt.NDArray[np.float64]) -> Interval:
    """The middle 95 % of the scores (percentiles, interpolated linearly)."""
    low, high = np.percentile(scores, [2.5, 97.5])
    return Interval(float(low), float(high))


def score_difference(passed: Counts, other: Counts, tests: Counts) -> npt.NDArray[np.float64]:
    """What each page contributes to the difference between two candidates' scores, shape (P,). They sum to it.

    d[p] = mean over categories of (passed[c, p] - other[c, p]) / tests in c
    """
    shares = (passed - other) / tests.sum(axis=1, keepdims=True)
    return np.asarray(shares.mean(axis=0), dtype=np.float64)


def permutation_p(differences: npt.NDArray[np.float64], samples: int, seed: int) -> float:
    """The two-sided p-value of "both candidates are equally good": their outputs are swapped page by page at random.

    p = (1 + number of samples with |sum of sign[p] * d[p]| >= |sum of d[p]|) / (1 + samples)
    Two candidates that differ on no page have p = 1.
    """
    observed = abs(differences.sum()) - 1e-12  # swapping all pages gives nearly the same sum in floating point
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(differences))
    extreme = 0
    for start in range(0, samples, rows):
        size = min(rows, samples - start)
        signs = 2 * rng.integers(0, 2, size=(size, len(differences)), dtype=np.int8) - 1
        extreme += int(np.count_nonzero(np.abs(signs @ differences) >= observed))
    return (1 + extreme) / (1 + samples)

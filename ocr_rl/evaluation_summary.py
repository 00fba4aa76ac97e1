"""Results of pages -> rates with intervals: of all pages, by kind of test, by source and by language.

Every rate pools counts, a numerator and a denominator per page. Intervals resample documents, because the pages of
one document err together. Pages are put in order before anything is added or drawn, so the order in which they come
changes nothing, not even a last digit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ocr_rl.data.loading import metadata_values
from ocr_rl.data.splits import document_of
from ocr_rl.page_results import PageResult

RESAMPLES = 2000
"""Draws of documents behind an interval."""
_CHUNK = 1_000_000
"""Numbers drawn at a time, which bounds the memory."""

Floats = npt.NDArray[np.float64]
Rate = Callable[[PageResult], tuple[float, float]]
"""What a page adds to a rate: (numerator, denominator)."""


def _edits(result: PageResult, unit: str, cap: bool = False) -> tuple[float, float]:
    edits = getattr(result.score, unit)
    if edits is None:
        return 0, 0
    distance = min(edits.distance, edits.reference_length) if cap else edits.distance
    return distance, edits.reference_length


def _part(result: PageResult, name: str) -> tuple[float, float]:
    return (result.score.parts[name], 1) if name in result.score.parts else (0, 0)


RATES: Mapping[str, Rate] = {
    "cer": lambda r: _edits(r, "char_edits"),
    "cer_capped": lambda r: _edits(r, "char_edits", cap=True),
    "wer": lambda r: _edits(r, "word_edits"),
    "exact": lambda r: _part(r, "exact"),
    "similarity": lambda r: _part(r, "similarity"),
    "pass_rate": lambda r: (r.score.passed, r.score.scored_tests),
    "truncated": lambda r: (not r.completion.finished, 1),
    "reward": lambda r: (r.score.reward, 1),
}
"""cer, wer: pooled edits over pooled reference lengths; cer_capped: the same with each page's edits capped at its
length, so that one runaway page counts as one lost page; pass_rate: passed tests over all scored tests; the others:
means over pages."""


def kind_rates(results: Sequence[PageResult]) -> dict[str, Rate]:
    """The pass rate of each kind of test that the pages have, by kind."""

    def rate(kind: str) -> Rate:
        def passed(result: PageResult) -> tuple[float, float]:
            verdicts = [verdict.passed for test, verdict in result.score.verdicts if test.type == kind]
            return sum(verdicts), len(verdicts)

        return passed

    kinds = sorted({test.type for result in results for test, _ in result.score.verdicts})
    return {kind: rate(kind) for kind in kinds}


class DocumentCounts(NamedTuple):
    """Per document (rows, by name) and rate (columns), what the document's pages add up to."""

    numerators: Floats
    denominators: Floats


def document_counts(results: Sequence[PageResult], rates: Mapping[str, Rate]) -> DocumentCounts:
    ordered = sorted(results, key=lambda result: (document_of(result.page), result.page.id))
    row_of = {doc: row for row, doc in enumerate(dict.fromkeys(document_of(result.page) for result in ordered))}
    counts = np.zeros((2, len(row_of), len(rates)))
    for result in ordered:
        counts[:, row_of[document_of(result.page)]] += np.array([rate(result) for rate in rates.values()]).T
    return DocumentCounts(*counts)


def resampled_sums(counts: Floats, seed: int) -> Floats:
    """(D, K) counts -> (RESAMPLES, K) sums over D documents drawn with replacement.

    The draws depend on the seed and on D alone, so two systems on the same pages meet the same ones.
    """
    n = len(counts)
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    sums = [
        rng.multinomial(n, np.full(n, 1 / n), size=min(rows, RESAMPLES - start)) @ counts
        for start in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(sums)


def middle(values: Floats) -> list[float]:
    """[low, high] of the middle 95 %; draws in which a rate does not exist (NaN) are left out."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return [float(low), float(high)]


def quotient(numerators: Floats, denominators: Floats) -> Floats:
    """NaN where the denominator is 0."""
    return numerators / np.where(denominators > 0, denominators, np.nan)


def _with_intervals(counts: DocumentCounts, seed: int) -> list[tuple[float, list[float]] | None]:
    """Each rate with its interval; None for one that no page allows."""
    numerators, denominators = counts.numerators.sum(0), counts.denominators.sum(0)
    drawn = quotient(resampled_sums(counts.numerators, seed), resampled_sums(counts.denominators, seed))
    return [
        (float(numerators[k] / denominators[k]), middle(drawn[:, k])) if denominators[k] else None
        for k in range(len(numerators))
    ]


def summarize(results: Sequence[PageResult], seed: int = 0) -> dict[str, Any]:
    """RATES, each with a 95 % bootstrap interval `<name>_ci` over documents; None where no page allows one.

    `n` and `documents` count pages and documents. Several results of one page, samples, count one by one in the
    rates and once in `n`.
    """
    counts = document_counts(results, RATES)
    summary: dict[str, Any] = {}
    for name, found in zip(RATES, _with_intervals(counts, seed), strict=True):
        value, interval = found or (None, None)
        summary |= {name: value, f"{name}_ci": interval}
    return summary | {"n": len({result.page.id for result in results}), "documents": len(counts.numerators)}


def by_kind(results: Sequence[PageResult], seed: int = 0) -> dict[str, dict[str, Any]]:
    """For each kind of test: `tests`, `passed`, `pass_rate` and its interval."""
    rates = kind_rates(results)
    if not rates:
        return {}
    counts = document_counts(results, rates)
    passed, tests = counts.numerators.sum(0), counts.denominators.sum(0)
    table = {}
    for k, (kind, found) in enumerate(zip(rates, _with_intervals(counts, seed), strict=True)):
        assert found is not None
        table[kind] = {
            "tests": int(tests[k]),
            "passed": int(passed[k]),
            "pass_rate": found[0],
            "pass_rate_ci": found[1],
        }
    return table


def by_metadata(results: Sequence[PageResult], key: str, seed: int = 0) -> dict[str, dict[str, Any]]:
    """A summary for each value of a metadata key. A page with a list counts under each value, one without in none."""
    values = {
        result.page.id: metadata_values(result.page, key)
        for result in results
        if result.page.metadata.get(key) not in (None, "")
    }
    names = sorted({name for own in values.values() for name in own})
    return {name: summarize([r for r in results if name in values.get(r.page.id, ())], seed) for name in names}


def totals(results: Sequence[PageResult], seed: int = 0) -> dict[str, Any]:
    """A summary of all pages, and by kind of test."""
    return summarize(results, seed) | {"by_kind": by_kind(results, seed)}


def evaluation(results: Sequence[PageResult], seed: int = 0) -> dict[str, Any]:
    """All that an evaluation says: totals, tables and every page. The pages stay in the order in which they came."""
    return {
        **totals(results, seed),
        "by_source": by_metadata(results, "source", seed),
        "by_language": by_metadata(results, "language", seed),
        "pages": [result.as_dict() for result in results],
    }

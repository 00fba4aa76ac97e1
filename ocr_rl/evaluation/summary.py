"""Results of pages -> rates with intervals: of all pages, by kind of test, by source and by language.

Every rate pools counts, a numerator and a denominator per page. Intervals resample documents, because errors on the
pages of one document are correlated. Pages are sorted before anything is added or drawn, so their order changes
nothing, not even the last digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ocr_rl.data.facts import metadata_values
from ocr_rl.evaluation.bootstrap import (
    DocumentCounts,
    document_counts,
    percentile_interval,
    resampled_sums,
    safe_divide,
)
from ocr_rl.evaluation.rates import RATES, kind_rates
from ocr_rl.evaluation.results import PageEvaluation


def _with_intervals(counts: DocumentCounts, seed: int) -> list[tuple[float, list[float]] | None]:
    """Each rate with its interval; None for a rate that no page has."""
    numerators, denominators = counts.numerators.sum(0), counts.denominators.sum(0)
    drawn = safe_divide(resampled_sums(counts.numerators, seed), resampled_sums(counts.denominators, seed))
    return [
        (float(numerators[k] / denominators[k]), percentile_interval(drawn[:, k])) if denominators[k] else None
        for k in range(len(numerators))
    ]


def summarize(results: Sequence[PageEvaluation], seed: int = 0) -> dict[str, Any]:
    """RATES, each with a 95 % bootstrap interval `<name>_ci` over documents; None for a rate that no page has.

    `n` and `documents` count pages and documents. Several results of a page (samples) count separately in the rates
    and once in `n`.
    """
    counts = document_counts(results, RATES)
    summary: dict[str, Any] = {}
    for name, found in zip(RATES, _with_intervals(counts, seed), strict=True):
        value, interval = found or (None, None)
        summary |= {name: value, f"{name}_ci": interval}
    return summary | {"n": len({result.page.id for result in results}), "documents": len(counts.numerators)}


def by_kind(results: Sequence[PageEvaluation], seed: int = 0) -> dict[str, dict[str, Any]]:
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


def by_metadata(results: Sequence[PageEvaluation], key: str, seed: int = 0) -> dict[str, dict[str, Any]]:
    """A summary for each value of a metadata key. A page with a list of values counts under each of them."""
    values = {
        result.page.id: metadata_values(result.page, key)
        for result in results
        if result.page.metadata.get(key) not in (None, "")
    }
    names = sorted({name for own in values.values() for name in own})
    return {name: summarize([r for r in results if name in values.get(r.page.id, ())], seed) for name in names}


def totals(results: Sequence[PageEvaluation], seed: int = 0) -> dict[str, Any]:
    """A summary of all pages, and by kind of test."""
    return summarize(results, seed) | {"by_kind": by_kind(results, seed)}


def evaluation(results: Sequence[PageEvaluation], seed: int = 0) -> dict[str, Any]:
    """A whole evaluation: totals, tables, and every page, in the order given.

    `malformed` counts the pages that are not in the model's output format, if there are any.
    """
    malformed = sum(bool(result.score.malformed) for result in results)
    return {
        **totals(results, seed),
        **({"malformed": malformed} if malformed else {}),
        "by_source": by_metadata(results, "source", seed),
        "by_language": by_metadata(results, "language", seed),
        "pages": [result.as_dict() for result in results],
    }


def summarize_samples(sampled: Sequence[Sequence[PageEvaluation]], temperature: float, seed: int) -> dict[str, Any]:
    """`mean`: over all samples; `best`: over the sample of each page with the highest reward, the first of equal ones.

    `pages` holds the samples of each page by its id, without what the row of the page has already.
    """
    kept = ("text", "raw", "malformed", "finish_reason", "reward", "cer")
    return {
        "samples": len(sampled[0]),
        "temperature": temperature,
        "mean": totals([result for page in sampled for result in page], seed),
        "best": totals([max(page, key=lambda result: result.score.reward) for page in sampled], seed),
        "pages": {
            page[0].page.id: [{key: value for key, value in result.as_dict().items() if key in kept} for result in page]
            for page in sampled
        },
    }

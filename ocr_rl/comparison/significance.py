"""Several runs of each of several systems on the same pages: rates and differences, over seeds and pages.

An interval resamples documents and, with them, the seeds of each system: it says where the rate may lie for another
seed and other pages; with few seeds it is rough. A p-value swaps documents between two systems' means over their
seeds, and is corrected for the number of systems by Holm's method (Scandinavian Journal of Statistics 6, 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ocr_rl.comparison.outcome import MEASURES
from ocr_rl.evaluation.bootstrap import (
    RESAMPLES,
    DocumentCounts,
    Floats,
    document_counts,
    percentile_interval,
    resampled_sums,
    safe_divide,
)
from ocr_rl.evaluation.paired import PERMUTATIONS
from ocr_rl.evaluation.rates import RATES, Rate, kind_rates
from ocr_rl.evaluation.results import PageEvaluation
from ocr_verifiers.resampling import permutation_p

Runs = Sequence[Sequence[PageEvaluation]]
"""For each seed, the results of the same pages."""

COMPARED = tuple(MEASURES)
"""Rates by which systems are compared."""


def summary(runs: Runs, seed: int = 0) -> dict[str, Any]:
    """RATES of all runs together, `<name>_ci` over seeds and documents, `by_kind`, `n` and `documents`."""
    found = _with_intervals(runs, RATES, seed)
    rates: dict[str, Any] = {}
    for name, own in found.items():
        rates |= {name: own and own[0], f"{name}_ci": own and own[1]}
    kinds = {
        kind: {"pass_rate": own[0], "pass_rate_ci": own[1]}
        for kind, own in _with_intervals(runs, kind_rates(runs[0]), seed).items()
        if own is not None
    }
    documents = len(document_counts(runs[0], RATES).numerators)
    return rates | {"by_kind": kinds, "n": len(runs[0]), "documents": documents}


def differences(runs: Runs, others: Runs, seed: int = 0) -> dict[str, dict[str, Any] | None]:
    """By rate of COMPARED: `difference` runs - others, `difference_ci` and `p`; None if no page has the rate.

    Both systems are evaluated on the same resampled documents; their seeds are drawn independently.
    """
    rates = {name: RATES[name] for name in COMPARED}
    these, those = [document_counts(run, rates) for run in runs], [document_counts(run, rates) for run in others]
    pages = these[0].denominators
    assert all((one.denominators == pages).all() for one in (*these, *those))  # the same pages
    totals = pages.sum(0)
    means = [np.mean([one.numerators for one in side], axis=0) for side in (these, those)]
    changes = means[0] - means[1]
    drawn = _drawn(these, seed, 1) - _drawn(those, seed, 2)
    found: dict[str, dict[str, Any] | None] = {}
    for k, name in enumerate(rates):
        found[name] = None
        if totals[k]:
            found[name] = {
                "difference": float(changes[:, k].sum() / totals[k]),
                "difference_ci": percentile_interval(drawn[:, k]),
                "p": permutation_p(changes[:, k] / totals[k], PERMUTATIONS, seed),
            }
    return found


def _with_intervals(runs: Runs, rates: Mapping[str, Rate], seed: int) -> dict[str, tuple[float, list[float]] | None]:
    if not rates:
        return {}
    counts = [document_counts(run, rates) for run in runs]
    numerators, denominators = (sum(one[side].sum(0) for one in counts) for side in (0, 1))
    drawn = _drawn(counts, seed, 1)
    return {
        name: (float(numerators[k] / denominators[k]), percentile_interval(drawn[:, k])) if denominators[k] else None
        for k, name in enumerate(rates)
    }


def _drawn(counts: Sequence[DocumentCounts], seed: int, stream: int) -> Floats:
    """(RESAMPLES, K) rates, each of resampled documents and resampled seeds.

    rate[r] = sum_s w[r, s] sum_d v[r, d] numerators[s, d] / the same sum of denominators
    w, v: how often a seed, and a document, is drawn
    """
    seeds = len(counts)
    weights = np.random.default_rng([seed, stream]).multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES)
    sums = [np.stack([resampled_sums(one[side], seed) for one in counts]) for side in (0, 1)]
    numerators, denominators = (np.einsum("rs,srk->rk", weights, side) for side in sums)
    return safe_divide(numerators, denominators)


def holm(ps: Sequence[float]) -> list[float]:
    """p-values, corrected for their number, in the order given.

    The i-th smallest of m becomes max over j <= i of min(1, (m - j + 1) p_j).
    """
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    corrected, largest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = largest
    return corrected


def most_different_pages(systems: Mapping[str, Runs], count: int) -> list[dict[str, Any]]:
    """Pages on which the mean rewards of two systems differ most: each page once, with these two.

    `texts` are those of each system's first seed, `rewards` the means over its seeds.
    """
    rewards: dict[str, dict[str, float]] = {}
    first: dict[str, dict[str, PageEvaluation]] = {}
    for label, runs in systems.items():
        first[label] = {result.page.id: result for result in runs[0]}
        for run in runs:
            for result in run:
                own = rewards.setdefault(result.page.id, {})
                own[label] = own.get(label, 0.0) + result.score.reward / len(runs)
    found = []
    for id, own in rewards.items():
        gaps = [(abs(own[a] - own[b]), a, b) for a, b in combinations(own, 2)]
        if gaps and (widest := max(gaps))[0] > 0:
            gap, a, b = widest
            better, worse = (a, b) if own[a] >= own[b] else (b, a)
            found.append((gap, id, better, worse))
    found.sort(key=lambda row: (-row[0], row[1]))
    return [
        {
            "id": id,
            "reference": first[better][id].page.text,
            "recipes": [better, worse],
            "rewards": [rewards[id][better], rewards[id][worse]],
            "texts": [first[label][id].completion.text for label in (better, worse)],
        }
        for _, id, better, worse in found[:count]
    ]

"""Two systems on the same pages: paired differences with intervals and p-values, and the pages that changed most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ocr_rl.data.splits import document_of
from ocr_rl.evaluation.bootstrap import document_counts, percentile_interval, resampled_sums, safe_divide
from ocr_rl.evaluation.rates import RATES, Rate, kind_rates
from ocr_rl.evaluation.results import PageEvaluation
from ocr_verifiers.resampling import permutation_p

PERMUTATIONS = 10_000
"""Random swaps behind a p-value."""
SHOWN = 50
"""Maximum number of changed pages that a comparison lists."""


def paired_differences(
    results: Sequence[PageEvaluation], others: Sequence[PageEvaluation], name: str, seed: int = 0
) -> dict[str, Any]:
    """Differences of `results` to `others`, called `name`, on the pages that both have; `left_out` counts the rest.

    Both are scored with the same references and tests, so they differ only in transcriptions. For each of RATES,
    under `metrics`, and for the pass rate of each kind of test, under `by_kind`:
        difference      this - other
        difference_ci   its 95 % bootstrap interval: documents are drawn, with the pages of both systems
        p               two-sided p-value for equal systems: documents are swapped between the two at random
    The p-values are not corrected for their number. `pages` holds the pages whose reward differs, largest change
    first, SHOWN at most.

    Raises:
        ValueError: no page is in both.
    """
    here, there = {r.page.id: r for r in results}, {r.page.id: r for r in others}
    shared = sorted(here.keys() & there.keys())
    if not shared:
        raise ValueError(f"{name}: none of the evaluated pages is in it; nothing to compare")
    these, those = [here[id] for id in shared], [there[id] for id in shared]
    return {
        "name": name,
        "n": len(shared),
        "documents": len({document_of(r.page) for r in these}),
        "left_out": len(here) - len(shared),
        "metrics": _differences(these, those, RATES, seed),
        "by_kind": _differences(these, those, kind_rates(these), seed),
        "pages": _changes(these, those),
    }


def _differences(
    these: Sequence[PageEvaluation], those: Sequence[PageEvaluation], rates: Mapping[str, Rate], seed: int
) -> dict[str, dict[str, Any] | None]:
    """By rate; None for a rate that no page has.

    d[document] = (this numerator - other numerator) / sum of denominators;  their sum is the difference
    """
    if not rates:
        return {}
    this, other = document_counts(these, rates), document_counts(those, rates)
    assert (this.denominators == other.denominators).all()  # the same pages
    totals = this.denominators.sum(0)
    changes = this.numerators - other.numerators
    drawn = safe_divide(resampled_sums(changes, seed), resampled_sums(this.denominators, seed))
    found: dict[str, dict[str, Any] | None] = {}
    for k, name in enumerate(rates):
        if not totals[k]:
            found[name] = None
            continue
        found[name] = {
            "this": float(this.numerators[:, k].sum() / totals[k]),
            "other": float(other.numerators[:, k].sum() / totals[k]),
            "difference": float(changes[:, k].sum() / totals[k]),
            "difference_ci": percentile_interval(drawn[:, k]),
            "p": permutation_p(changes[:, k] / totals[k], PERMUTATIONS, seed),
        }
    return found


def _changes(these: Sequence[PageEvaluation], those: Sequence[PageEvaluation]) -> list[dict[str, Any]]:
    """By reward, because every page has one, in [0, 1]; equal changes by id."""
    pairs = [pair for pair in zip(these, those, strict=True) if pair[0].score.reward != pair[1].score.reward]
    pairs.sort(key=lambda pair: (-abs(pair[0].score.reward - pair[1].score.reward), pair[0].page.id))
    rows = []
    for this, other in pairs[:SHOWN]:
        row: dict[str, Any] = {"id": this.page.id, "reward": this.score.reward, "reward_other": other.score.reward}
        if this.score.char_edits is not None and other.score.char_edits is not None:
            row |= {"cer": this.score.char_edits.error_rate, "cer_other": other.score.char_edits.error_rate}
        rows.append(row | {"text": this.text, "text_other": other.text})
    return rows

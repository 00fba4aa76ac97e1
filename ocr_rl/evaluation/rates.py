"""The rates of an evaluation, each computed from the counts of its pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ocr_rl.evaluation.results import PageEvaluation

Rate = Callable[[PageEvaluation], tuple[float, float]]
"""What a page contributes to a rate: (numerator, denominator)."""


def _edits(result: PageEvaluation, unit: str, cap: bool = False) -> tuple[float, float]:
    edits = getattr(result.score, unit)
    if edits is None:
        return 0, 0
    distance = min(edits.distance, edits.reference_length) if cap else edits.distance
    return distance, edits.reference_length


def _part(result: PageEvaluation, name: str) -> tuple[float, float]:
    return (result.score.parts[name], 1) if name in result.score.parts else (0, 0)


RATES: Mapping[str, Rate] = {
    "cer": lambda r: _edits(r, "char_edits"),
    "cer_capped": lambda r: _edits(r, "char_edits", cap=True),
    "wer": lambda r: _edits(r, "word_edits"),
    "exact": lambda r: _part(r, "exact"),
    "similarity": lambda r: _part(r, "similarity"),
    "pass_rate": lambda r: (r.score.passed, r.score.scored_tests),
    "truncated": lambda r: (not r.completion.finished, 1),
    "reward": lambda r: (r.score.reward, not r.score.needs_siblings),
}
"""cer, wer: pooled edits over pooled reference lengths; cer_capped: the same with each page's edits capped at its
length, so that a runaway page counts as one lost page; pass_rate: passed tests over all scored tests; the others:
means over pages. A single transcription has no reward where that is the consensus of several alone."""


def kind_rates(results: Sequence[PageEvaluation]) -> dict[str, Rate]:
    """The pass rate of each kind of test that the pages have, by kind."""

    def rate(kind: str) -> Rate:
        def passed(result: PageEvaluation) -> tuple[float, float]:
            verdicts = [verdict.passed for test, verdict in result.score.verdicts if test.type == kind]
            return sum(verdicts), len(verdicts)

        return passed

    kinds = sorted({test.type for result in results for test, _ in result.score.verdicts})
    return {kind: rate(kind) for kind in kinds}

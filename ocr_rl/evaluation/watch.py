"""Alarms: what gets worse on held-out pages while a reward is optimised.

A reward can rise while transcriptions get worse: agreement on a text that nobody looked at the page for, length that is
paid for, tests that pass on an empty page. Every evaluation is compared, page by page, with the best one so far.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from ocr_rl.evaluation.bootstrap import percentile_interval, resampled_sums, safe_divide

CER_MARGIN = 0.01
LENGTH_MARGIN = 1.25
"""Texts may become this much longer or shorter."""
SAMENESS_MARGIN = 0.05

Row = Mapping[str, Any]
Pair = tuple[Row, Row]
"""A page in an earlier evaluation and now."""


class Watch:
    """Compares evaluations, as `evaluation` makes them, with the best one by CER; without texts, with the first one."""

    def __init__(self, start: Mapping[str, Any], step: int = 0) -> None:
        """Begin with an evaluation after `step`, the best one so far."""
        self.best, self.step = start, step

    def look(self, evaluated: Mapping[str, Any], step: int) -> list[str]:
        """A line for each thing that is worse now than it was."""
        lines = alarms(self.best["pages"], evaluated["pages"], f"step {self.step}" if self.step else "the start")
        if evaluated["cer"] is not None and evaluated["cer"] < self.best["cer"]:
            self.best, self.step = evaluated, step
        return lines


def alarms(before: Sequence[Row], now: Sequence[Row], when: str) -> list[str]:
    """A line for each measure that is worse by more than its margin, with a 95 % interval that excludes no change.

    CER:        where pages have a text
    length:     characters now / before; the mean over pages
    sameness:   the similarity of each page's transcription to that of the next page; it rises when a policy writes
                without looking at the page

    Where the CER is better there is no alarm: a policy that began with loops may well write less. Intervals are over
    documents, or over the pages of a single one, paired by page.

    Args:
        before, now: rows of the same pages (`PageEvaluation.as_dict`); pages that only one of them has are left out.
        when: names the evaluation before, for the message.
    """
    earlier = {row["id"]: row for row in before}
    pairs = [(earlier[row["id"]], row) for row in now if row["id"] in earlier]
    lines = []
    if labelled := [pair for pair in pairs if "cer" in pair[0]]:
        was, is_, (low, high) = _change(labelled, lambda row: row["char_edits"], lambda row: row["reference_chars"])
        if high < 0:
            return []
        if is_ - was > CER_MARGIN and low > 0:
            lines.append(f"CER on held-out pages is {is_:.3f}; it was {was:.3f} at {when}")
    was, is_, (low, high) = _change(pairs, lambda row: len(row["text"]))
    if was and ((is_ > LENGTH_MARGIN * was and low > 0) or (is_ * LENGTH_MARGIN < was and high < 0)):
        lines.append(f"transcriptions of held-out pages have {is_:.0f} characters; they had {was:.0f} at {when}")
    if len(pairs) > 1:
        following = [*pairs[1:], pairs[0]]
        same = [
            ({**a, "same": _similarity(a, other)}, {**b, "same": _similarity(b, other_now)})
            for (a, b), (other, other_now) in zip(pairs, following, strict=True)
        ]
        was, is_, (low, _) = _change(same, lambda row: row["same"])
        if is_ - was > SAMENESS_MARGIN and low > 0:
            lines.append(
                f"transcriptions of different held-out pages are more alike: similarity {is_:.2f}, {was:.2f} at "
                f"{when}; does the policy look at the page?"
            )
    return lines


def _similarity(a: Row, b: Row) -> float:
    return Levenshtein.normalized_similarity(a["text"], b["text"])


def _change(
    pairs: Sequence[Pair], value: Callable[[Row], float], size: Callable[[Row], float] = lambda row: 1.0
) -> tuple[float, float, list[float]]:
    """sum of values / sum of sizes before and now, and the interval of the difference."""
    documents: dict[str, list[Pair]] = defaultdict(list)
    several = len({pair[0]["document"] for pair in pairs}) > 1
    for pair in pairs:
        documents[str(pair[0]["document" if several else "id"])].append(pair)
    sums = np.array(
        [
            [sum(value(a) for a, _ in own), sum(value(b) for _, b in own), sum(size(a) for a, _ in own)]
            for _, own in sorted(documents.items())
        ],
        dtype=np.float64,
    )
    before, now, total = sums.sum(0)
    drawn = resampled_sums(sums, 0)
    interval = percentile_interval(safe_divide(drawn[:, 1] - drawn[:, 0], drawn[:, 2]))
    return before / max(total, 1), now / max(total, 1), interval

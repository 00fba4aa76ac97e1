"""How good confidences are: whether they are true, and whether they find errors. Pure functions.

Shapes: confidences and right are (U,), of the units of all pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ocr_rl.evaluation.confidence.reading import Floats, Labels

BINS = 10
"""Of equal width."""
REVIEWED = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Shares of the units that are looked at, the least sure first."""


def reliability(confidences: Floats, right: Labels) -> list[dict[str, float]]:
    """For each bin that is not empty: `from`, `to`, `units`, `wrong`, the mean `confidence` and the share `right`."""
    place = np.minimum((confidences * BINS).astype(int), BINS - 1)
    rows = []
    for number in range(BINS):
        own = place == number
        if own.any():
            row = {"from": number / BINS, "to": (number + 1) / BINS, "units": int(own.sum())}
            row |= {"wrong": int((~right[own]).sum())}
            rows.append(row | {"confidence": float(confidences[own].mean()), "right": float(right[own].mean())})
    return rows


def expected_calibration_error(confidences: Floats, right: Labels) -> float:
    """sum over bins of units / U |share right - mean confidence| (Naeini et al., 2015); 0 without units."""
    bins = reliability(confidences, right)
    return sum(row["units"] * abs(row["right"] - row["confidence"]) for row in bins) / max(1, len(right))


def brier_score(confidences: Floats, right: Labels) -> float:
    """mean (confidence - right)^2; 0 without units."""
    return float(np.mean((confidences - right) ** 2)) if len(right) else 0.0


def errors_found(confidences: Floats, right: Labels, share: float) -> float:
    """The share of wrong units among the `share` of units with the lowest confidence; 1 if none is wrong.

    Of units with the same confidence, each is looked at with the same probability.
    """
    wrong = int((~right).sum())
    if not wrong:
        return 1.0
    looked_at = share * len(right)
    found = 0.0
    for value in np.unique(confidences):
        own = confidences == value
        part = min(1.0, looked_at / own.sum())
        found += part * float((~right[own]).sum())
        looked_at -= part * own.sum()
        if looked_at <= 0:
            break
    return found / wrong


def measured(confidences: Floats, right: Labels, shares: Sequence[float] = REVIEWED) -> dict[str, Any]:
    """All of it: `units`, `wrong`, `ece`, `brier`, `bins`, and in `found` [share looked at, share of errors found]."""
    return {
        "units": len(right),
        "wrong": int((~right).sum()),
        "ece": expected_calibration_error(confidences, right),
        "brier": brier_score(confidences, right),
        "bins": reliability(confidences, right),
        "found": [[share, errors_found(confidences, right, share)] for share in shares],
    }

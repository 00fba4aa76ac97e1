"""How good the confidences of an evaluation are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ocr_rl.evaluation.confidence.calibration import Calibration
from ocr_rl.evaluation.confidence.measures import measured
from ocr_rl.evaluation.confidence.reading import LEVELS, Reading, correct
from ocr_rl.evaluation.confidence.readings import confidence_of


def summarize_confidence(pairs: Iterable[tuple[Reading, str]], calibration: Calibration | None) -> dict[str, Any]:
    """For each of LEVELS what `measured` says of all units; `calibrated`: whether they are meant as probabilities.

    Args:
        pairs: readings and the references of their pages.
    """
    pages = list(pairs)
    confidence = confidence_of(calibration)
    found: dict[str, Any] = {"calibrated": calibration is not None}
    for level in LEVELS:
        confidences = [confidence(reading, level) for reading, _ in pages]
        right = [correct(reading.text, reference, level) for reading, reference in pages]
        found[level] = measured(np.concatenate(confidences), np.concatenate(right))
    return found

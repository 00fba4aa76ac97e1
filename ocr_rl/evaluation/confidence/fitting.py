"""Fits confidences on pages with a text: logistic regression, and isotonic regression where that is better.

scikit-learn is needed for this alone: what it finds are a few numbers, which `calibration` applies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ocr_rl.evaluation.confidence.calibration import LevelCalibration, sigmoid
from ocr_rl.evaluation.confidence.measures import brier_score, expected_calibration_error
from ocr_rl.evaluation.confidence.reading import FEATURES, Floats, Labels, Level, Reading, correct, features

FOLDS = 5
"""Shares of the documents that are left out in turn."""
CHOICES = {
    "agreement": ("agreement", "weakest"),
    "log probabilities": ("logprob", "lowest"),
    "both": FEATURES,
}
"""What a confidence may follow from."""


class Labelled(NamedTuple):
    """A transcription of a page with a text."""

    reading: Reading
    reference: str
    document: str


def fit_level(pages: Sequence[Labelled], level: Level) -> LevelCalibration:
    """The calibration with the lowest Brier score on left-out documents, among CHOICES with and without steps.

    Where all units are right, or all wrong, also if that is so whatever is left out, nothing tells them apart: the
    confidence of each is (right + 1) / (units + 2), the rule of succession, and no error is known.

    Raises ValueError for pages of one document.
    """
    x = np.concatenate([features(page.reading, level) for page in pages])
    of_pages = [correct(page.reading.text, page.reference, level) for page in pages]
    right = np.concatenate(of_pages)
    documents = np.repeat([page.document for page in pages], [len(own) for own in of_pages])
    folds = _folds(documents, right)
    if not folds:
        return _constant(right)
    known = np.any(folds, axis=0)
    fitted: list[tuple[float, LevelCalibration]] = []
    for names in CHOICES.values():
        for steps in (False, True):
            guessed = np.zeros(len(right))
            for left_out in folds:
                guessed[left_out] = _fit(x[~left_out], right[~left_out], names, steps)(x[left_out])
            ece = expected_calibration_error(guessed[known], right[known])
            brier = brier_score(guessed[known], right[known])
            fitted.append((brier, replace(_fit(x, right, names, steps), ece=ece, brier=brier)))
    return min(fitted, key=lambda one: one[0])[1]


def check_documents(documents: Iterable[str]) -> None:
    """Raises ValueError for one document, of which nothing could be left out."""
    names = set(documents)
    if len(names) < 2:
        raise ValueError(
            f"all pages are of the document {min(names)}; give pages of two or more, or name each page's document in "
            "`doc`"
        )


def _folds(documents: npt.NDArray[np.str_], right: Labels) -> list[Labels]:
    """Masks of the units that are left out, whole documents in turns; of the others some are right and some wrong."""
    names = np.unique(documents)
    turns = [np.isin(documents, names[turn::FOLDS]) for turn in range(min(FOLDS, len(names)))]
    return [turn for turn in turns if len({*right[~turn].tolist()}) == 2]


def _constant(right: Labels) -> LevelCalibration:
    chance = (right.sum() + 1) / (len(right) + 2)
    intercept = float(np.log(chance / (1 - chance)))
    return LevelCalibration({}, intercept, (), len(right), int((~right).sum()), None, None)


def _fit(x: Floats, right: Labels, names: Sequence[str], steps: bool) -> LevelCalibration:
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    columns = [FEATURES.index(name) for name in names]
    model = LogisticRegression(max_iter=1000).fit(x[:, columns], right)
    weights = dict(zip(names, map(float, model.coef_[0]), strict=True))
    intercept = float(model.intercept_[0])
    fitted: tuple[tuple[float, float], ...] = ()
    if steps:
        before = sigmoid(model.decision_function(x[:, columns]))
        curve = IsotonicRegression(out_of_bounds="clip", y_min=0, y_max=1).fit(before, right)
        fitted = tuple(zip(curve.X_thresholds_.tolist(), curve.y_thresholds_.tolist(), strict=True))
    return LevelCalibration(weights, intercept, fitted, len(right), int((~right).sum()), None, None)

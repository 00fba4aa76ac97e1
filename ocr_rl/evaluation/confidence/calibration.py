"""From features of characters, words and lines to the probability that they are right, as `fitting` fits it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from ocr_rl.evaluation.confidence.reading import FEATURES, LEVELS, Floats, Level, Reading, agreement, features
from ocr_verifiers import write_json_atomic

SURE = 0.999
"""No confidence is above it, and none below 1 - SURE."""


@dataclass(frozen=True)
class LevelCalibration:
    """P(right) = sigmoid(w x + b) (Platt, 1999), then, if it has steps, a monotone function of that (isotonic
    regression; Zadrozny and Elkan, 2002)."""

    weights: Mapping[str, float]
    """Of the FEATURES that help."""
    intercept: float
    steps: tuple[tuple[float, float], ...]
    """(probability before, probability after), ascending, with straight lines between; empty: as it is."""
    units: int
    """That it was fitted on."""
    wrong: int
    ece: float | None
    """Expected calibration error on documents that were left out of the fit; None where none could be."""
    brier: float | None
    """Mean squared error of the probabilities, on the same documents."""

    def __call__(self, x: Floats) -> Floats:
        """(units, FEATURES) -> (units,)"""
        weights = np.array([self.weights.get(name, 0.0) for name in FEATURES])
        chance = sigmoid(x @ weights + self.intercept)
        if self.steps:
            before, after = zip(*self.steps, strict=True)
            chance = np.interp(chance, before, after)
        return np.clip(chance, 1 - SURE, SURE)


@dataclass(frozen=True)
class Calibration:
    """Of one model and one way to draw samples."""

    model: str
    samples: int
    temperature: float
    consensus: bool
    levels: Mapping[Level, LevelCalibration]
    find_lines: bool = False
    """Whether pages were read line by line."""

    def __call__(self, reading: Reading, level: Level) -> Floats:
        """The probability that each unit of the text is right, (units,)."""
        return self.levels[level](features(reading, level))

    @property
    def digest(self) -> str:
        """Of all that it holds."""
        held = {key: value for key, value in asdict(self).items() if key != "find_lines" or value}
        return sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:16]

    def write(self, file: Path) -> None:
        write_json_atomic(file, asdict(self))


def sigmoid(score: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(score, -30, 30)))


def uncalibrated(reading: Reading, level: Level) -> Floats:
    """The share of samples that confirm each unit, (units,)."""
    return np.clip(agreement(reading, level), 1 - SURE, SURE)


def read_calibration(file: Path) -> Calibration:
    """Raises ValueError for a file that `Calibration.write` did not write."""
    try:
        found = TypeAdapter(Calibration).validate_python(json.loads(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{file}: {where}: {first['msg']}; write it anew with `ocr-rl calibrate`") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: is no JSON ({error}); `ocr-rl calibrate` writes such a file") from None
    if missing := [level for level in LEVELS if level not in found.levels]:
        raise ValueError(f"{file}: levels has no {missing[0]}; write it anew with `ocr-rl calibrate`")
    return found

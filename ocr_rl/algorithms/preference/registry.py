"""The preference algorithms by name."""

from __future__ import annotations

from typing import Any

from ocr_rl.algorithms.preference.dpo import Dpo
from ocr_rl.algorithms.preference.kto import Kto
from ocr_rl.algorithms.preference.learner import PreferenceLearner
from ocr_rl.algorithms.preference.orpo import Orpo

LEARNERS: dict[str, type[PreferenceLearner[Any]]] = {"dpo": Dpo, "orpo": Orpo, "kto": Kto}
"""By the recipe's `algorithm`."""

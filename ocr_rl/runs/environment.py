"""Versions, hardware and commit that a run was made with."""

from __future__ import annotations

import json
from typing import Any

from ocr_rl.runs.folder import RunFolder
from ocr_rl.runs.resume import RECIPE


def environment(run: RunFolder) -> dict[str, Any]:
    """The environment recorded in the newest undamaged checkpoint."""
    for checkpoint in reversed(run.checkpoints()):
        if run.damage(checkpoint) is None:
            state = json.loads((checkpoint / RECIPE.with_name("state.json")).read_text(encoding="utf-8"))
            return dict(state["environment"])
    return {}

"""reward_functions.json: which code gave the rewards of a run, {spec: [{"after_step": 0, "sha256": "..."}, ...]}."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ocr_rl.runs.atomic import write_atomically


def record_functions(run: Path, digests: Mapping[str, str], step: int) -> list[str]:
    """Record the digests of the code that is used after `step`; the functions whose code has changed.

    Uses after `step` are dropped first: a run that resumes there does these steps again.
    """
    file = run / "reward_functions.json"
    record = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    changed = []
    for spec, digest in digests.items():
        uses = [use for use in record.get(spec, ()) if use["after_step"] < step]
        if not uses or uses[-1]["sha256"] != digest:
            if uses:
                changed.append(spec)
            uses.append({"after_step": step, "sha256": digest})
        record[spec] = uses
    write_atomically(file, json.dumps(record, indent=2) + "\n")
    return changed

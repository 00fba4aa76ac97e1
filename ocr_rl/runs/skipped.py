"""What data.on_error = "skip" leaves out of a dataset: counted in one line, and listed in a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ocr_rl.runs.atomic import write_atomically

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def list_skipped(problems: Sequence[DataclassInstance], file: Path | None, say: Callable[[str], object]) -> None:
    """Say how many problems were skipped, and write an object for each of them into `file`, if there is to be one."""
    if not problems:
        return
    where = ""
    if file is not None:
        write_atomically(file, "".join(json.dumps(asdict(problem)) + "\n" for problem in problems))
        where = f"; see {file}"
    say(f"left out because of data.on_error: {len(problems):,}, e.g. {problems[0]}{where}")

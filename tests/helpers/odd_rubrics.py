"""Rubrics that misbehave when a completion says so. Scoring processes import this module, so it has no torch."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ocr_verifiers import Rubric, Score


@dataclass(frozen=True)
class Odd(Rubric):
    """Does what a completion says, and scores other completions like `Rubric`."""

    folder: str = ""
    """Where `count` and `crash once` write files."""

    def prepare(self, reference=None, tests=()):
        if self.folder:
            Path(self.folder, f"prepared {reference} {os.getpid()} {time.monotonic_ns()}").touch()
        return Prepared(super().prepare(reference, tests), self.folder)


class Prepared:
    def __init__(self, prepared, folder):
        self.prepared, self.tests, self.folder = prepared, prepared.tests, folder

    def score(self, completion, finished=True):
        match completion.split():
            case ["loop"]:
                while True:
                    pass
            case ["nap", seconds, *_]:
                time.sleep(float(seconds))
            case ["crash"]:
                os.kill(os.getpid(), signal.SIGKILL)
            case ["crash", "once"]:
                mark = Path(self.folder, "crashed")
                if not mark.exists():
                    mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            case ["count"]:
                Path(self.folder, f"count {time.monotonic_ns()}").touch()
            case ["modules"]:
                return Score(0.0, {}, trouble=" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
            case ["pid"]:
                return Score(0.0, {}, trouble=str(os.getpid()))
        return self.prepared.score(completion, finished)

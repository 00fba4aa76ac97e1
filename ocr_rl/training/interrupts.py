"""Ctrl-C and SIGTERM: finish the step, save a checkpoint, stop."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tqdm import tqdm

from ocr_rl import distributed

ECHO_S = 2.0
"""Seconds within which two Ctrl-C may be one, told by the terminal and by a launcher."""


@contextmanager
def stop_after_step() -> Iterator[list[bool]]:
    """Ctrl-C sets the flag that it yields, for the trainer to finish its step; a second Ctrl-C interrupts.

    A launcher passes the Ctrl-C on that its processes have had already: with several, one that follows at once is none.
    """
    asked: list[bool] = []
    at = 0.0

    def ask(_signal: int, _frame: FrameType | None) -> None:
        nonlocal at
        if asked and distributed.count() > 1 and time.monotonic() - at < ECHO_S:
            return
        if asked:
            raise KeyboardInterrupt
        asked.append(True)
        at = time.monotonic()
        if distributed.first():
            tqdm.write("stopping after this step; Ctrl-C again to stop now", file=sys.stderr)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)

"""Ctrl-C: finish the step, save a checkpoint, stop."""

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
"""Seconds within which two signals may be the same Ctrl-C, sent by the terminal and by a launcher."""


@contextmanager
def stop_after_step() -> Iterator[list[bool]]:
    """Yields a list that is empty until Ctrl-C, so that the loop can finish its step. A second Ctrl-C interrupts.

    A launcher repeats the Ctrl-C that its processes have already received from the terminal. With several processes, a
    second signal within ECHO_S is therefore ignored.
    """
    requested: list[bool] = []
    requested_at = 0.0

    def request(_signal: int, _frame: FrameType | None) -> None:
        nonlocal requested_at
        if requested and distributed.count() > 1 and time.monotonic() - requested_at < ECHO_S:
            return
        if requested:
            raise KeyboardInterrupt
        requested.append(True)
        requested_at = time.monotonic()
        if distributed.first():
            tqdm.write("stopping after this step; Ctrl-C again to stop now", file=sys.stderr)

    before = signal.signal(signal.SIGINT, request)
    try:
        yield requested
    finally:
        signal.signal(signal.SIGINT, before)

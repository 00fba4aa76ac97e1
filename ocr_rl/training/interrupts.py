"""Ctrl-C, or SIGTERM as a scheduler sends it: finish the step, save a checkpoint, stop."""

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

    SIGTERM is the same to a single process. To one of several it may mean that another has died, so that the step
    never ends; there it has its usual effect.

    A launcher repeats the Ctrl-C that its processes have already received from the terminal. With several processes, a
    second signal within ECHO_S is therefore ignored.
    """
    requested: list[bool] = []
    requested_at = 0.0

    def request(number: int, _frame: FrameType | None) -> None:
        nonlocal requested_at
        if requested and number == signal.SIGTERM:  # a comparison sends it after Ctrl-C too
            return
        if requested and distributed.count() > 1 and time.monotonic() - requested_at < ECHO_S:
            return
        if requested:
            raise KeyboardInterrupt
        requested.append(True)
        requested_at = time.monotonic()
        if distributed.first():
            tqdm.write("stopping after this step; Ctrl-C again to stop now", file=sys.stderr)

    signals = [signal.SIGINT, *[signal.SIGTERM] * (distributed.count() == 1)]
    before = {number: signal.signal(number, request) for number in signals}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

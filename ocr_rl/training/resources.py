"""CPU seconds and peak memory of a run."""

from __future__ import annotations

import time


def compute_clock(on_gpu: bool) -> float:
    """Seconds of computing up to now: differences of it count.

    CPU seconds of this process and of those it has started; with a GPU, seconds of the clock.
    """
    if on_gpu:
        return time.monotonic()
    import psutil

    me = psutil.Process()
    seconds = 0.0
    for process in (me, *me.children(recursive=True)):
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:  # ended in between
            continue
        seconds += used.user + used.system + used.children_user + used.children_system
    return seconds

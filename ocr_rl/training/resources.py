"""CPU seconds and peak memory of a run."""

from __future__ import annotations

import resource
import sys
import time

import torch

from ocr_rl import distributed


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


def resources(seconds: float, on_gpu: bool) -> dict[str, float]:
    """What a step took: CPU seconds of all processes, seconds of the clock with GPUs; the most memory of one."""
    spent = distributed.gather([(seconds, peak_memory(on_gpu))])
    times = [seconds for seconds, _ in spent]
    return {
        "time/compute": round(max(times) if on_gpu else sum(times), 3),
        "peak_memory_mib": max(memory for _, memory in spent),
    }


def peak_memory(on_gpu: bool) -> int:
    """MiB that this process has held at most: of the GPU's memory, where there is one."""
    if on_gpu:
        return torch.cuda.max_memory_allocated() >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (20 if sys.platform == "darwin" else 10)

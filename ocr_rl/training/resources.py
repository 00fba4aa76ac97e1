"""Compute time and peak memory of a step."""

from __future__ import annotations

import resource
import sys
import time

import torch

from ocr_rl import distributed


def compute_clock(on_gpu: bool) -> float:
    """Seconds of computing up to now; only differences are meaningful.

    CPU seconds of this process and of those it has started; with a GPU, wall-clock seconds.
    """
    if on_gpu:
        return time.monotonic()
    import psutil

    me = psutil.Process()
    seconds = 0.0
    for process in (me, *me.children(recursive=True)):
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:  # it has just ended
            continue
        seconds += used.user + used.system + used.children_user + used.children_system
    return seconds


def resources(seconds: float, on_gpu: bool) -> dict[str, float]:
    """CPU seconds of a step in all processes (with GPUs, seconds of the clock), peak memory of one, and threads."""
    spent = distributed.gather([(seconds, peak_memory(on_gpu))])
    times = [seconds for seconds, _ in spent]
    return {
        "time/compute": round(max(times) if on_gpu else sum(times), 3),
        "peak_memory_mib": max(memory for _, memory in spent),
        "threads": torch.get_num_threads(),
    }


def resident_memory() -> int:
    """Bytes that this process holds now."""
    import psutil

    held: int = psutil.Process().memory_info().rss
    return held


def peak_memory(on_gpu: bool) -> int:
    """The most MiB that this process has held so far, of the GPU's memory if there is one."""
    if on_gpu:
        return torch.cuda.max_memory_allocated() >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (20 if sys.platform == "darwin" else 10)

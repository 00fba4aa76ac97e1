"""How many threads PyTorch computes with where nobody has said: as many as there are free cores.

OpenMP's threads wait for each other at the end of every parallel region, and they wait by spinning. On a busy machine
a thread that has lost its core holds up all others, which burn theirs meanwhile: a training step takes ten times as
long, or never ends. So the number is chosen before torch is loaded, spinning is cut short, and between steps of a
training the number is lowered when the process keeps waiting for a core.

A number that the user has set (OMP_NUM_THREADS) is never touched. All of this is for computing on a CPU.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path

NUMBER = "OMP_NUM_THREADS"
CHOSEN = "OCR_RL_THREADS"
"""Set beside NUMBER where we have chosen it, for this process and those that it starts."""
SPINS = {"GOMP_SPINCOUNT": "10000"}
"""Turns a GNU OpenMP thread spins before it sleeps: some hundredths of a millisecond, instead of for ever."""

LOOK_S = 0.2
"""How long the machine is watched before the number is chosen."""
WAITING = 1 / 3
"""Share of its time that a process may wait for a core; above, it has too many threads."""
PATIENCE = 2
"""Steps in a row that must wait too long before the number is lowered."""


def choose_threads(environ: MutableMapping[str, str] = os.environ) -> str | None:
    """Sets the number of threads in `environ` unless the user has, before torch is loaded; returns a line about it."""
    if NUMBER in environ:
        return None
    cores, busy = available_cores(), busy_cores()
    number = free_threads(cores, busy)
    environ.update({NUMBER: str(number), CHOSEN: str(number)})
    for name, value in SPINS.items():
        environ.setdefault(name, value)
    threads = "1 thread" if number == 1 else f"{number} threads"
    return f"{threads} on {cores:g} cores, {busy:.1f} of them busy; {NUMBER} sets another number"


def share_threads(jobs: int, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of each of `jobs` processes that run at once, which share the threads of this one."""
    number = int(environ.get(CHOSEN) or environ.get(NUMBER) or available_cores())
    share = str(max(1, number // jobs))
    chosen = {} if NUMBER in environ and CHOSEN not in environ else {CHOSEN: share}
    return {NUMBER: share, "MKL_NUM_THREADS": share, **chosen}


def free_threads(cores: float, busy: float) -> int:
    """Whole cores that are free, or nearly; one at least."""
    return max(1, min(int(cores), int(cores - busy + 0.25)))


def available_cores() -> float:
    """Cores that this process may use: its affinity, and the limit of its control group."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    return min(cores, int(quota) / int(period)) if quota.isdigit() and period else cores


def busy_cores(look_s: float = LOOK_S) -> float:
    """Cores at work on average over the next `look_s` seconds, which we sleep; 0 where the system does not say."""
    before = _ticks()
    time.sleep(look_s)
    after = _ticks()
    total = sum(after) - sum(before)
    if not before or total <= 0:
        return 0.0
    idle = sum(after[3:5]) - sum(before[3:5])
    return (os.cpu_count() or 1) * (1 - idle / total)


def _ticks() -> list[int]:
    """user, nice, system, idle, iowait, irq, softirq, steal: since the machine began, of all cores."""
    first = _read("/proc/stat").partition("\n")[0].split()
    return [int(value) for value in first[1:9]]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def time_on_cores() -> tuple[float, float]:
    """Seconds that all threads of this process ran, and that they waited for a core (Linux; zeros elsewhere)."""
    ran = waited = 0
    for thread in Path("/proc/self/task").glob("*/schedstat"):
        times = _read(str(thread)).split()
        if len(times) == 3:
            ran, waited = ran + int(times[0]), waited + int(times[1])
    return ran / 1e9, waited / 1e9


class ThreadWatch:
    """Lowers the number of threads of a training that keeps waiting for a core. Never raises it."""

    def __init__(
        self,
        get: Callable[[], int],
        set_: Callable[[int], None],
        times: Callable[[], tuple[float, float]] = time_on_cores,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`get` and `set_` are torch's; without a number that we chose, nothing is watched."""
        self._get, self._set, self._times = get, set_, times
        self._active = CHOSEN in environ
        self._last, self._slow = times(), 0

    def look(self) -> str | None:
        """Called between steps; a line for the user where the number has just been lowered."""
        (ran, waited), (ran_before, waited_before) = self._times(), self._last
        self._last = (ran, waited)
        ran, waited = ran - ran_before, waited - waited_before
        share = waited / (ran + waited) if ran + waited > 0 else 0.0
        number = self._get()
        if not self._active or number == 1 or share <= WAITING:
            self._slow = 0
            return None
        self._slow += 1
        if self._slow < PATIENCE:
            return None
        self._slow, fewer = 0, max(1, number // 2)
        self._set(fewer)
        return f"the machine is busy ({share:.0%} of the time spent waiting for a core): {fewer} threads, not {number}"

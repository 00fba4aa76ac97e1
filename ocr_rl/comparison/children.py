"""The processes of a comparison's trials: none of them outlives it, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

PARENT = "OCR_RL_PARENT"
"""Tells a trial which process it must not outlive."""
PR_SET_PDEATHSIG = 1
"""Option of Linux' prctl: the signal that a process gets when the thread that started it ends."""


def end_with_parent() -> None:
    """In a trial's process: be killed with the comparison, even by SIGKILL; a run folder is complete at any moment."""
    parent = int(os.environ.pop(PARENT))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


class Children:
    """Those that run, so that all can be stopped at once."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = Lock()
        self._stopped = False

    def run(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
        """Run `python -m ocr_rl.cli ARGUMENTS`; its exit code, negative for a signal. After `stop`, nothing is run."""
        with self._lock, open(log, "ab") as file:
            if self._stopped:
                return -signal.SIGTERM
            process = subprocess.Popen(
                [sys.executable, "-m", "ocr_rl.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, PARENT: str(os.getpid())},
            )
            self._running.add(process)
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def stop(self) -> int:
        """End all of them, after the step that they are in, which they save; how many there were."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()
            return len(self._running)

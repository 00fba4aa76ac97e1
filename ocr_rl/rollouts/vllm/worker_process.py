"""The worker process as the trainer sees it: starts it, exchanges messages with it, notices that it died."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

LOG_LINES = 15
"""Lines of vLLM's output that an error message shows."""


class WorkerDiedError(Exception):
    """The worker died, or was silent for too long and was killed."""


class Worker:
    """A running worker process. What vLLM prints goes to `log`."""

    def __init__(self, log: Path, descriptors: Sequence[int], environment: dict[str, str]) -> None:
        self.log = log
        self.connection, theirs = Pipe()
        self._sending = threading.Lock()
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ocr_rl.rollouts.vllm.worker", str(theirs.fileno()), *map(str, descriptors)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                pass_fds=(theirs.fileno(), *descriptors),
                env={**os.environ, **environment},
            )
        theirs.close()

    def send(self, message: Any) -> None:
        """May be called from any thread. `receive` notices a worker that died."""
        with self._sending, contextlib.suppress(OSError, ValueError):
            self.connection.send(message)

    def receive(self, timeout: float, *others: Connection) -> Any:
        """The next message; None if another connection has one first.

        Raises:
            WorkerDiedError: the worker is dead, or was silent for `timeout` seconds.
        """
        ready = wait_for([self.connection, *others], timeout)
        if not ready:
            self.kill()
            raise WorkerDiedError(f"the engine was silent for {timeout:g} seconds")
        if self.connection not in ready:
            return None
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            self.kill()
            raise WorkerDiedError(f"the engine's process ended ({_how(self.process.returncode)})") from None

    def expect(self, answer: object, timeout: float) -> None:
        """Wait for this message; drop those that come before it."""
        while self.receive(timeout) != answer:
            pass

    def kill(self) -> None:
        self.process.kill()  # SIGKILL also ends a stopped process
        self.process.wait()
        self.connection.close()


def last_lines(log: Path) -> str:
    """The end of the log without blank lines; "" if there is no log."""
    if not log.is_file():
        return ""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return "\n".join(f"    {line[:300]}" for line in lines[-LOG_LINES:])


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name

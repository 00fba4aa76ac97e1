"""Temporary folders. One that a killed process has left behind is removed when the next one is made."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

YOUNG_S = 60.0
"""A folder this young may be one that is not locked yet."""


class Scratch:
    """A new folder at `path`, locked while this process lives, until `close`. Its name says what it is for."""

    def __init__(self, kind: str) -> None:
        remove_abandoned(kind)
        self.path = Path(tempfile.mkdtemp(prefix=f"ocr-rl-{kind}-"))
        self._handle = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._handle)


def remove_abandoned(kind: str) -> None:
    """Delete the folders of processes that have ended: no one locks them any more."""
    for path in Path(tempfile.gettempdir()).glob(f"ocr-rl-{kind}-*"):
        with suppress(OSError):  # another user's, in use, or gone already
            if time.time() - path.stat().st_mtime > YOUNG_S:
                _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
    finally:
        os.close(handle)

"""Errors that stop a command with a message of their own, raised and caught across folders."""

from __future__ import annotations


class EngineError(Exception):
    """The engine that generates is gone and does not come back. The message says what happened and what to try."""


class TrainingStoppedError(Exception):
    """Training cannot go on; what was saved is intact. The message says what happened and what to try."""

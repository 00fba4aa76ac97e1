"""Errors that end a command with a message for the user; any folder may raise and catch them."""

from __future__ import annotations


class EngineError(Exception):
    """The engine failed and cannot be restarted. The message says what happened and what to try."""


class TrainingStoppedError(Exception):
    """Training cannot continue; what was saved is intact. The message says what happened and what to try."""

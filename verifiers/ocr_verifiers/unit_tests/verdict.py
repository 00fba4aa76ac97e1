"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """A check's decision and its reason."""

    passed: bool
    why: str = ""
    """Empty on a pass; otherwise a short reason that says what was found."""


PASS = Verdict(True)


def fail(why: str) -> Verdict:
    """A failed verdict with its reason."""
    return Verdict(False, why)

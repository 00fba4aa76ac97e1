"""What a check says."""

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


def shown(text: str, limit: int = 60) -> str:
    """`text` in quotes, cut to `limit` characters: what reasons and errors show of a value."""
    return f'"{text}"' if len(text) <= limit else f'"{text[: limit - 1]}…"'

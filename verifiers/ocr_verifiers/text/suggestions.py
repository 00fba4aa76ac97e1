"""Suggestions for mistyped names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to write instead of `name`: the most similar known name, or all known names if none is similar."""
    choices = sorted(known)
    near = get_close_matches(name, choices, n=1)
    return f'did you mean "{near[0]}"?' if near else f"known: {', '.join(choices)}"

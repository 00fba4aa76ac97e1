"""Quoting text in messages."""

from __future__ import annotations


def quoted(text: str, limit: int = 60) -> str:
    """`text` in quotes, cut to `limit` characters, for reasons and error messages."""
    return f'"{text}"' if len(text) <= limit else f'"{text[: limit - 1]}…"'

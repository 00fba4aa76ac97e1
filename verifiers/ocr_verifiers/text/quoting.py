"""Text quoted in messages."""

from __future__ import annotations


def shown(text: str, limit: int = 60) -> str:
    """`text` in quotes, cut to `limit` characters: what reasons and errors show of a value."""
    return f'"{text}"' if len(text) <= limit else f'"{text[: limit - 1]}…"'

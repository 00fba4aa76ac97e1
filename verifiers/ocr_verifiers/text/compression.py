"""Loops that vary: how well a text compresses, after arXiv 2601.14251.

A page that numbers what it repeats, or changes a word of it, is no literal repetition (see `repetition`), but zlib
needs few bytes for it.
"""

from __future__ import annotations

import zlib

WINDOW = 2_000
"""Bytes of UTF-8 that are compressed at once, so that a long page does not hide a loop."""
SHORTEST = 1_000
"""Bytes of a text that is judged at all."""
MAX_RATIO = 4.0
"""Of real pages none was above 3.4."""
TOLERANCE = 1.25
"""How much better than its reference a page may compress."""


def compression_ratio(text: str) -> float:
    """The largest ratio of bytes to compressed bytes in any window of the text; 0 if it is under 1,000 bytes."""
    written = text.encode("utf-8", "surrogatepass")
    if len(written) < SHORTEST:
        return 0.0
    last = max(0, len(written) - WINDOW)
    windows = [written[start : start + WINDOW] for start in (*range(0, last, WINDOW // 2), last)]
    return max(len(window) / len(zlib.compress(window, 9)) for window in windows)

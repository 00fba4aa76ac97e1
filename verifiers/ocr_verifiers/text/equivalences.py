"""Equivalences of a user's own: a file of pairs that count as equal, such as `ſt` and `st` or `&c.` and `etc.`."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

Pairs = tuple[tuple[str, str], ...]


def read_equivalences(path: str | Path) -> Pairs:
    """The pairs of a TSV file: two texts and a tab between them on each line. Blank lines and those with # are skipped.

    Raises ValueError, naming file and line, for any other line, and for a text that two lines replace.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {getattr(error, 'strerror', None) or 'is not UTF-8'}") from error
    pairs: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        sides = line.split("\t")
        if len(sides) != 2 or not sides[0]:
            raise ValueError(f"{path}:{number}: has {len(sides)} columns; write a text, a tab and its equivalent")
        if pairs.setdefault(sides[0], sides[1]) != sides[1]:
            raise ValueError(f"{path}:{number}: {sides[0]!r} is replaced on an earlier line; keep one")
    return tuple(pairs.items())


def equate(text: str, pairs: Pairs) -> str:
    """The text with the first of each pair replaced by the second; longer ones first, each place once."""
    if not pairs:
        return text
    known = dict(pairs)
    return _pattern(pairs).sub(lambda found: known[found[0]], text)


@lru_cache(maxsize=32)
def _pattern(pairs: Pairs) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(first) for first, _ in sorted(pairs, key=lambda pair: -len(pair[0]))))

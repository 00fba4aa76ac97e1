"""Identifiers and texts that XML can hold."""

from __future__ import annotations

import re
from collections.abc import Iterable


class Identifiers:
    """For each id of a page one that XML allows, and that no other element has; most are what they were."""

    def __init__(self, names: Iterable[str]) -> None:
        self._written: dict[str, str] = {}
        self._taken: set[str] = set()
        for name in names:
            if name not in self._written:
                self._written[name] = self.new(name)

    def __getitem__(self, name: str) -> str:
        return self._written[name]

    def new(self, name: str) -> str:
        """An id like `name` that is not taken yet."""
        valid = re.sub(r"[^\w.-]", "_", name)
        valid = valid if re.match(r"[^\W\d]", valid) else f"_{valid}"
        unique, number = valid, 2
        while unique in self._taken:
            unique, number = f"{valid}_{number}", number + 1
        self._taken.add(unique)
        return unique


def xml_text(text: str) -> str:
    """The text with U+FFFD for what XML cannot hold: control characters, half surrogate pairs, U+FFFE and U+FFFF."""
    return re.sub("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)

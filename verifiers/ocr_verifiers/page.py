"""A completion, prepared once for all the tests of its page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ocr_verifiers import normalize
from ocr_verifiers.repetition import Loop, find_loops


@dataclass(frozen=True)
class PreparedPage:
    """One completion; each view of it is made when a test first asks for it, and kept."""

    text: str
    """As the policy wrote it."""

    @cached_property
    def strict(self) -> str:
        """The text as unit tests compare it."""
        return normalize.strict(self.text)

    @cached_property
    def lower(self) -> str:
        """`strict` in lower case, for tests that ignore case."""
        return self.strict.lower()

    @cached_property
    def loops(self) -> list[Loop]:
        """The repetitions of the text, for baseline tests and the repetition gate."""
        return find_loops(self.text)

"""What a conversion to markdown returns, and what all formats share."""

from __future__ import annotations

from typing import NamedTuple

MAX_DROPPED = 2000
"""Characters that a conversion may leave out, as in front matter: they are compared with nothing."""
EMPTY_ELEMENT = 10
"""What an element without text counts as, in these characters."""
END_TOKENS = ("<end_of_utterance>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>", "<｜end▁of▁sentence｜>")
"""What decoding leaves at the end when it keeps special tokens."""


class Markdown(NamedTuple):
    """A completion as markdown."""

    text: str
    """The transcription; the completion as it stands if it is malformed."""
    problem: str | None = None
    """Why the completion is not in its format; None if it is."""
    front_matter: str = ""
    """The block that stood before the text, which some rubrics score; only of the format `front_matter`."""


class MalformedError(ValueError):
    """The completion is not in its format; the message says why."""


class Dropped:
    """Counts what a conversion leaves out."""

    def __init__(self) -> None:
        self._characters = 0

    def add(self, text: str = "") -> None:
        """Text that is no part of the transcription; or an element without text."""
        self._characters += max(len(text.strip()), EMPTY_ELEMENT)

    def check(self) -> None:
        """A MalformedError if it is too much."""
        if self._characters > MAX_DROPPED:
            raise MalformedError(
                f"{self._characters:,} characters are not part of the transcription (page headers, boxes, empty "
                f"elements and so on); at most {MAX_DROPPED:,} are left out"
            )


def without_end_tokens(text: str) -> str:
    """The text without the special tokens that end a completion; two at most."""
    text = text.rstrip()
    for _ in range(2):
        for token in END_TOKENS:
            text = text.removesuffix(token).rstrip()
    return text

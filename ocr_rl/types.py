"""The types that every folder shares: a page, a completion of it, and a group of completions.

Shapes, everywhere in the project:

    P   pages of a batch
    G   completions per page (group_size)
    B   completions of a batch, B = P * G
    T   tokens of the longest completion of a batch
    V   vocabulary
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

FinishReason = Literal["end", "length", "repetition"]


class ImageError(ValueError):
    """A page that cannot be read. `reason` continues a sentence that starts with its name."""

    def __init__(self, name: object, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Page:
    """One page image to transcribe, and what is known about the correct transcription.

    A page can be scored when it has a reference `text`, unit `tests`, or both.
    """

    id: str
    """Unique within a dataset: the file name, or `file.pdf#3` for the third page of a PDF."""
    open_image: Callable[[], Image]
    """Decodes the image, and reads it from disk only then. Picklable."""
    prompt: str = ""
    """The instruction beside the image; empty for models that need none."""
    text: str | None = None
    """The reference transcription."""
    tests: Sequence[Mapping[str, Any]] = ()
    """Unit tests: olmOCR-bench records, field for field."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The dataset's other columns (`doc`, `source`, `language`, `level`, ...)."""

    @property
    def image(self) -> Image:
        """The page, RGB, at its full size. Every access decodes it again."""
        return self.open_image().convert("RGB")


@dataclass(frozen=True)
class Completion:
    """What the policy wrote for one page."""

    token_ids: Sequence[int]
    """Sampled tokens, including the end token if there is one."""
    text: str
    """The decoded tokens without special tokens."""
    finish_reason: FinishReason
    """`end`: the end token was sampled; `length`: truncated at the token limit; `repetition`: stopped in a loop."""
    sampling_logprobs: Sequence[float]
    """The engine's log probability of each sampled token, at the sampling temperature."""
    lines: int = 0
    """Of a page that was read line by line, how many there are; 0: it was read as a whole."""

    @property
    def finished(self) -> bool:
        """True if the policy sampled an end token; otherwise the completion is truncated."""
        return self.finish_reason == "end"


@dataclass(frozen=True)
class Group:
    """The G completions of one page, within which advantages are normalised."""

    page: Page
    completions: Sequence[Completion]

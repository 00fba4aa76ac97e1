"""The nouns of the project: what a page is, what the policy says about it, and a group of such answers.

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


@dataclass(frozen=True)
class Page:
    """One page image to transcribe, and what is known about the right answer.

    A page can be scored when it has a reference `text`, unit `tests`, or both.
    """

    id: str
    """Unique within a dataset: the file name, or `file.pdf#3` for the third page of a PDF."""
    open_image: Callable[[], Image]
    """Decodes the image; nothing is read from disk before it is called. Picklable."""
    prompt: str = ""
    """The instruction that goes with the image; empty for models that need none."""
    text: str | None = None
    """The reference transcription."""
    tests: Sequence[Mapping[str, Any]] = ()
    """Unit tests: olmOCR-bench records, field for field."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Everything else that the dataset says of the page (`doc`, `source`, `language`, `level`, ...)."""

    @property
    def image(self) -> Image:
        """The decoded page, RGB, at its full size. Decoded anew at each access."""
        return self.open_image().convert("RGB")


@dataclass(frozen=True)
class Completion:
    """What the policy wrote for one page."""

    token_ids: Sequence[int]
    """Sampled tokens, the end token included where there is one."""
    text: str
    """The decoded tokens, special tokens left out."""
    finish_reason: FinishReason
    """`end`: the end token was sampled; `length`: cut off at the token limit; `repetition`: stopped in a loop."""
    sampling_logprobs: Sequence[float]
    """The engine's own log probability of each sampled token, at the sampling temperature."""

    @property
    def finished(self) -> bool:
        """True if the policy ended its transcription itself; anything else is truncated."""
        return self.finish_reason == "end"


@dataclass(frozen=True)
class Group:
    """The G completions of one page: what advantages are normalised within."""

    page: Page
    completions: Sequence[Completion]

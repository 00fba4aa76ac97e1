"""The interface of engines, which sample groups of completions for pages.

`Sampling` alone decides how: of a checkpoint's generation settings only the end and padding tokens are used. The
distribution is softmax(logits / temperature) over all tokens except special image tokens. That is exactly what the
trainer scores, so the engine's log probabilities and the trainer's agree.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tqdm import tqdm

from ocr_rl.config.presets import PromptFormat
from ocr_rl.types import Completion, Group, Page
from ocr_verifiers import OutputFormat

if TYPE_CHECKING:
    from ocr_rl.models.policy import Policy


@dataclass(frozen=True)
class Sampling:
    """How completions are sampled."""

    group_size: int = 1
    """Completions per page, G."""
    temperature: float = 1.0
    """0 is greedy decoding."""
    max_tokens: int = 256
    """Maximum length of a completion, including the end token."""


class Sampled(NamedTuple):
    """A completion that has ended."""

    page: int
    """The page's number in the stream, from 0."""
    row: int
    """Its number in the group, 0 to G - 1."""
    completion: Completion


class Refused(NamedTuple):
    """A page that the engine cannot read; the stream has nothing else for it."""

    page: int
    why: str


class Engine(ABC):
    """Generates completions. vLLM and transformers have the same interface.

    Attributes:
        prompt_format: how its policy is asked for a page, and what its completions are written in.
        policy: that samples.
    """

    prompt_format = PromptFormat()
    policy: Policy

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """What each token adds to the text of a completion."""
        return self.policy.pieces(token_ids)

    @property
    def output(self) -> OutputFormat:
        return self.prompt_format.output

    @abstractmethod
    def stream(self, pages: Iterable[Page], sampling: Sampling, seed: int) -> Iterator[Sampled | Refused]:
        """Completions as they end, in any order. Pages are taken when there is room for them.

        The same seed, pages and weights give the same completions, if the engine is deterministic.

        Raises:
            EngineError: the engine cannot continue.
        """

    @abstractmethod
    def sync(self, policy: Policy) -> None:
        """Take over the policy's current weights, and drop every cache that depends on the old ones."""

    def generate(self, pages: Sequence[Page], sampling: Sampling, seed: int) -> list[Group]:
        """One group per page, in page order. Pages that the engine refuses are reported on stderr and left out."""
        rows: list[list[Completion | None]] = [[None] * sampling.group_size for _ in pages]
        refused = set()
        for event in self.stream(pages, sampling, seed):
            if isinstance(event, Refused):
                tqdm.write(f"{pages[event.page].id}: left out: {event.why}", file=sys.stderr)
                refused.add(event.page)
            else:
                rows[event.page][event.row] = event.completion
        groups = []
        for i, (page, completions) in enumerate(zip(pages, rows, strict=True)):
            if i not in refused:
                whole = [completion for completion in completions if completion is not None]
                assert len(whole) == sampling.group_size, f"{page.id}: {len(whole)} completions came"
                groups.append(Group(page, whole))
        return groups

    def close(self) -> None:  # noqa: B027 - some engines hold nothing
        """Release processes and memory; the engine cannot be used afterwards."""

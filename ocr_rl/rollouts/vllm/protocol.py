"""Messages between the trainer and the process that runs vLLM.

The trainer sends `EngineSetup`, and then
    ("load", buffer), ("pieces", list) ..., ("loaded", caches)    the weights, and the caches to reset after them
    "begin", SampleRequest ..., ("end", stream)                   pages, and that no more completions are needed
    "sleep"                                                       free memory until the next load
The worker sends "ready", "taken" after each list of pieces, "loaded", ("ended", stream), "asleep", and the messages
below. Both use one socket pair; nothing is read from disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class EngineSetup:
    """What the worker needs to start the engine."""

    folder: str
    """Config, tokenizer and processor; no weights."""
    dtype: str
    device: str
    max_model_len: int
    rows: int
    """Completions decoded at a time."""
    kv_cache_gib: float
    """0: as much as `memory_share` leaves."""
    memory_share: float
    eager: bool
    sleep: bool


@dataclass(frozen=True)
class SampleRequest:
    """A page to transcribe, once for each seed."""

    stream: int
    page: int
    image: bytes
    """RGB, fitted to the pixel budget."""
    size: tuple[int, int]
    """Width and height in pixels."""
    prompt_ids: Sequence[int]
    """As the tokenizer gives them: an image is one token."""
    expanded_ids: Sequence[int]
    """As the trainer reads them; the engine must arrive at the same."""
    rows: Sequence[tuple[int, int]]
    """Rows of the group to sample, and their seeds."""
    temperature: float
    max_tokens: int
    end_ids: Sequence[int]
    suppressed_ids: Sequence[int]
    stop_repetition: tuple[int, int] | None
    """Maximum length of a pattern, and how often it is repeated."""


@dataclass(frozen=True)
class FinishedRow:
    """A completion that has ended."""

    stream: int
    page: int
    row: int
    token_ids: Sequence[int]
    logprobs: Sequence[float]
    reason: str
    """vLLM's: stop, length or repetition."""


@dataclass(frozen=True)
class PageRejected:
    """A page that cannot be read, or that the engine does not accept."""

    stream: int
    page: int
    why: str


@dataclass(frozen=True)
class PromptMismatch:
    """The engine's prompt differs from the trainer's."""

    stream: int
    page: int
    engine_tokens: int
    trainer_tokens: int


@dataclass(frozen=True)
class Heartbeat:
    """The worker is alive."""

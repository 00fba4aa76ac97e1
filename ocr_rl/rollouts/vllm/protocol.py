"""The process that vLLM runs in, seen from the trainer, and what the two say to each other.

The trainer sends `EngineSetup`, and then
    ("load", buffer), ("pieces", list) ..., ("loaded", caches)    the weights, and the caches to drop after them
    "begin", Ask ..., ("end", stream)                             pages, and that no more of them is wanted
    "sleep"                                                       give memory back until the next load
The worker says "ready", "taken" after each list of pieces, "loaded", ("ended", stream), "asleep", and the messages
below. Both speak over one socket pair; nothing is read from disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class EngineSetup:
    """What the engine is started with."""

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
    """RGB, fitted."""
    size: tuple[int, int]
    """Width and height in pixels."""
    prompt_ids: Sequence[int]
    """As the tokenizer gives them: an image is one token."""
    expanded_ids: Sequence[int]
    """As the trainer reads them; the engine has to arrive at the same."""
    rows: Sequence[tuple[int, int]]
    """Rows of the group that are wanted, and their seeds."""
    temperature: float
    max_tokens: int
    end_ids: Sequence[int]
    suppressed_ids: Sequence[int]
    stop_repetition: tuple[int, int] | None
    """A pattern's greatest length, and how often it comes."""


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
    """A page that the engine cannot take."""

    stream: int
    page: int
    why: str


@dataclass(frozen=True)
class PromptMismatch:
    """The engine's prompt is not the trainer's: their lengths."""

    stream: int
    page: int
    engine: int
    trainer: int


@dataclass(frozen=True)
class Heartbeat:
    """Still at work."""

"""A transcription with what its samples and its log probabilities say of each character, word and line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from ocr_verifiers.text.matching import matching_all
from ocr_verifiers.text.offsets import prefix_lengths

Level = Literal["character", "word", "line"]
LEVELS: tuple[Level, ...] = get_args(Level)
FEATURES = ("agreement", "weakest", "logprob", "lowest")
"""logit of the share of samples that confirm the whole unit; of that of its least confirmed character; the sum of the
log probabilities of its characters; the lowest of them."""
LOWEST_LOGPROB = -20.0
"""A character's log probability counts as no less."""

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Reading:
    """One page, n characters, N samples."""

    text: str
    samples: Sequence[str]
    """Other transcriptions of the same page, drawn from the same policy."""
    logprobs: Sequence[float]
    """Of each character of the text, (n,); those of a token are shared among its characters."""


class Span(NamedTuple):
    """A unit of a text."""

    start: int
    end: int


def spans(text: str, level: Level) -> list[Span]:
    """The characters that are no white space, the words, or the lines of a text."""
    pattern = {"character": r"\S", "word": r"\S+", "line": r"\S(?:[^\n]*\S)?"}[level]
    return [Span(*match.span()) for match in re.finditer(pattern, text)]


def correct(text: str, reference: str, level: Level) -> Labels:
    """Whether each unit is as in the reference, with nothing missing beside it, (units,)."""
    return _whole(np.array(matching_all(text, [reference])[0], dtype=bool), text, level)


def agreement(reading: Reading, level: Level) -> Floats:
    """The share of samples that confirm each unit, (units,): a confidence without calibration."""
    shares: Floats = _whole(_confirmed(reading), reading.text, level).mean(0)
    return shares


def features(reading: Reading, level: Level) -> Floats:
    """FEATURES of each unit of the text, (units, 4)."""
    confirmed = _confirmed(reading)
    starts = _starts(reading.text, level)
    if not len(starts):
        return np.zeros((0, len(FEATURES)))
    whole = _logit(_whole(confirmed, reading.text, level).mean(0), len(confirmed))
    weakest = _logit(np.minimum.reduceat(confirmed.mean(0), starts), len(confirmed))
    logprobs = np.maximum(np.array(reading.logprobs, dtype=np.float64), LOWEST_LOGPROB)
    return np.stack([whole, weakest, np.add.reduceat(logprobs, starts), np.minimum.reduceat(logprobs, starts)], 1)


def _confirmed(reading: Reading) -> Labels:
    """Whether each sample has each character of the text, (N, n)."""
    return np.array(matching_all(reading.text, reading.samples), dtype=bool).reshape(len(reading.samples), -1)


def _whole(right: Labels, text: str, level: Level) -> Labels:
    """(..., n) of characters -> (..., units): whether all of a unit is right, with the white space after it."""
    starts = _starts(text, level)
    if not len(starts):
        return np.zeros((*right.shape[:-1], 0), dtype=bool)
    return np.logical_and.reduceat(right, starts, axis=-1)


def _starts(text: str, level: Level) -> npt.NDArray[np.intp]:
    return np.array([span.start for span in spans(text, level)], dtype=np.intp)


def _logit(share: Floats, samples: int) -> Floats:
    """That of (N share + 1/2) / (N + 1), so that all or no samples are not infinite."""
    chance = (samples * share + 0.5) / (samples + 1)
    return np.log(chance / (1 - chance))


def character_logprobs(pieces: Sequence[str], logprobs: Sequence[float], text: str) -> list[float]:
    """The log probability of each character of `text`, (n,), from what each token adds to the completion, (T,) each.

    A token's is shared among its characters; tokens that add none, such as the end, count with the character before. A
    text that is not the completion, such as its markdown, is aligned with it: what it lacks writes nothing, what it has
    more has probability 1.
    """
    written: list[float] = []
    waiting = 0.0
    for piece, logprob in zip(pieces, logprobs, strict=True):
        if piece:
            written += [(logprob + waiting) / len(piece)] * len(piece)
            waiting = 0.0
        else:
            waiting += logprob
    if written:
        written[-1] += waiting
    found = [0.0] * len(text)
    ends = prefix_lengths("".join(pieces), text)
    for value, start, end in zip(written, ends, ends[1:], strict=False):
        if end > start:
            found[start] += value
    return found

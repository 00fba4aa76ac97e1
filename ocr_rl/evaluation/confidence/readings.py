"""From the completions of a page to the text that is taken, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ocr_rl.evaluation.confidence.calibration import Calibration, read_calibration, uncalibrated
from ocr_rl.evaluation.confidence.reading import Floats, Level, Reading, character_logprobs, spans
from ocr_rl.rollouts.console import Console
from ocr_rl.types import Completion, Group
from ocr_verifiers.text.median import median_text, medoid

DIGITS = 3
"""Decimals of a confidence in a row."""
Pieces = Callable[[Sequence[int]], list[str]]
"""What each token of a completion adds to its text."""


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """The samples beside the greedy transcription of a page, and what they are for."""

    samples: int = 0
    """Transcriptions of each page that are drawn beside the greedy one."""
    temperature: float | None = None
    """That of the samples; None: 1."""
    consensus: bool = False
    """Take the text with the fewest edits to the samples and the greedy one, in place of the greedy one."""

    @property
    def drawn_at(self) -> float:
        return 1.0 if self.temperature is None else self.temperature

    def sample_settings(self) -> dict[str, Any]:
        """What must be equal for confidences to be comparable."""
        return {"samples": self.samples, "temperature": self.drawn_at, "consensus": self.consensus}


def taken(group: Group, consensus: bool, as_text: Callable[[str], str], pieces: Pieces) -> tuple[Completion, Reading]:
    """The reading of a page: the greedy completion, the first of the group, or the consensus of all of them.

    Args:
        as_text: what a completion becomes, e.g. markdown.

    Returns:
        The completion that the text is, or is closest to, and the text with what is known of it.
    """
    texts = [as_text(completion.text) for completion in group.completions]
    chosen = medoid(texts) if consensus else 0
    completion = group.completions[chosen]
    text = median_text(texts) if consensus else texts[0]
    logprobs = character_logprobs(pieces(completion.token_ids), completion.sampling_logprobs, text)
    return completion, Reading(text, texts[1:], logprobs)


def confidence_of(calibration: Calibration | None) -> Callable[[Reading, Level], Floats]:
    """The probability that each unit of a reading is right; without a calibration, the share of agreeing samples."""
    return uncalibrated if calibration is None else calibration


def fitting_calibration(
    file: Path,
    model: str,
    options: SampleOptions,
    find_lines: bool,
    console: Console,
    advice: Mapping[str, str] = MappingProxyType({}),
) -> Calibration:
    """The calibration of a file; the console warns of one of another model.

    Args:
        advice: what to do about a setting of the samples that the command has no option for, by its name.

    Raises:
        ValueError: for a file that is no calibration, or one for other samples.
    """
    found = read_calibration(file)
    for name, value in {**options.sample_settings(), "find_lines": find_lines}.items():
        if (there := getattr(found, name)) != value:
            mend = advice.get(name, "write the same, or calibrate anew")
            raise ValueError(f"{file}: was fitted with {name} = {there}, this run has {value}; {mend}")
    if found.model != model:
        console.say(f"{file} was fitted for {found.model}; for {model} it may be wrong")
    return found


def confidence_row(reading: Reading, calibration: Calibration | None) -> dict[str, Any]:
    """What a row says: `confidence`, the expected share of right characters; [start, end, confidence] of all `lines`,
    `words`, and of `spans` of characters with the same confidence; and the `samples`."""
    confidence = confidence_of(calibration)

    def listed(level: Level) -> list[list[float]]:
        values = confidence(reading, level).round(DIGITS).tolist()
        return [[*span, value] for span, value in zip(spans(reading.text, level), values, strict=True)]

    characters = listed("character")
    runs = [list(own) for _, own in groupby(characters, key=lambda one: one[2])]
    mean = sum(one[2] for one in characters) / len(characters) if characters else 0.0
    return {
        "confidence": round(mean, DIGITS),
        "lines": listed("line"),
        "words": listed("word"),
        "spans": [[run[0][0], run[-1][1], run[0][2]] for run in runs],
        "samples": list(reading.samples),
    }

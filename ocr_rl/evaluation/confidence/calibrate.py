"""Calibrates the confidences of a model on pages with a text: `ocr-rl calibrate`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from ocr_rl.data.splits import document_of
from ocr_rl.evaluation.confidence.calibration import Calibration
from ocr_rl.evaluation.confidence.fitting import Labelled, check_documents, fit_level
from ocr_rl.evaluation.confidence.reading import LEVELS
from ocr_rl.evaluation.confidence.readings import SampleOptions, taken
from ocr_rl.rollouts.console import SILENT, Console
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.loading import EngineOptions
from ocr_rl.rollouts.with_samples import greedy_and_samples
from ocr_rl.types import Group, Page
from ocr_verifiers import to_markdown


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions(EngineOptions, SampleOptions):
    """Which model, and how it is sampled; confidences of the same kind are calibrated."""

    samples: int = 8
    max_tokens: int = 2048
    """Tokens of a transcription."""
    seed: int = 0
    """That of the samples."""


def calibrate(pages: Sequence[Page], options: CalibrateOptions, console: Console = SILENT) -> Calibration:
    """Transcribe pages that have a text, and fit how often their characters, words and lines are right.

    Raises:
        ValueError: a page has no text, all are of one document, or none can be read.
        EngineError: the engine cannot continue.
    """
    import sklearn  # noqa: F401 - missing, it is missed before anything is computed

    for page in pages:
        if page.text is None:
            raise ValueError(f"{page.id} has no text, so nothing says what is right; leave it out, or add its text")
    check_documents(document_of(page) for page in pages)
    labelled = []
    sampling = Sampling(options.samples, options.drawn_at, options.max_tokens)
    with closing(options.load(console.say)) as engine, console.bar("sampling", len(pages)) as report:
        for done, group in enumerate(greedy_and_samples(engine, pages, sampling, options.seed), 1):
            report(done)
            if not isinstance(group, Group):
                console.say(f"{group.id}: left out: {group.why}")
                continue
            _, reading = taken(
                group, options.consensus, lambda text: to_markdown(text, engine.output).text, engine.pieces
            )
            labelled.append(Labelled(reading, group.page.text or "", document_of(group.page)))
    if not labelled:
        raise ValueError(f"none of the {len(pages)} pages can be read")
    check_documents(page.document for page in labelled)
    levels = {level: fit_level(labelled, level) for level in LEVELS}
    return Calibration(options.model, levels=levels, find_lines=options.find_lines, **options.sample_settings())

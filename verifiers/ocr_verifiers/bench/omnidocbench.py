"""OmniDocBench: its file of pages, and a folder of transcriptions in markdown, scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocr_verifiers.files.progress import Progress, silent
from ocr_verifiers.metrics.omnidocbench.reference import ReferencePage, reference_page
from ocr_verifiers.metrics.omnidocbench.scoring import BlockScore, PageScore, Summary, score_page, summary


@dataclass(frozen=True)
class OmniDocBenchScore:
    """All pages of the benchmark, scored."""

    pages: Sequence[PageScore]
    missing: Sequence[str]
    """Images without a transcription, which count as empty pages."""

    @property
    def summaries(self) -> dict[str, Summary]:
        """For all pages, and for those of each language."""
        languages = sorted({page.language for page in self.pages if page.language})
        of = {language: [page for page in self.pages if page.language == language] for language in languages}
        return {"all": summary(self.pages)} | {language: summary(pages) for language, pages in of.items()}


def score_omnidocbench(pages: Path, predictions: Path, progress: Progress = silent) -> OmniDocBenchScore:
    """Scores the transcriptions of a folder: `<image without its ending>.md`, or `<image>.md`.

    Raises ValueError, naming the file and the page, if the file is not one of the benchmark, or if the folder has no
    transcription of any of its pages.
    """
    scores, missing = [], []
    references = read_omnidocbench(pages)
    for page in progress(references, "pages"):
        names = (page.image.rpartition(".")[0] or page.image, page.image)
        file = next((file for name in names if (file := predictions / f"{name}.md").is_file()), None)
        if file is None:
            missing.append(page.image)
        try:
            text = "" if file is None else file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{file}: not UTF-8: {error}") from error
        scores.append(score_page(page, text))
    if len(missing) == len(references):
        raise ValueError(f"{predictions} has no transcription; write that of {missing[0]} as {names[0]}.md")
    return OmniDocBenchScore(scores, missing)


def read_omnidocbench(path: Path) -> list[ReferencePage]:
    """The pages of a file of the benchmark."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {getattr(error, 'strerror', None) or f'not valid JSON: {error}'}") from error
    if not isinstance(records, list) or not records:
        raise ValueError(f"{path}: not a list of pages; write the JSON file of OmniDocBench")
    pages = []
    for number, record in enumerate(records, 1):
        try:
            pages.append(reference_page(record if isinstance(record, dict) else {}))
        except ValueError as error:
            raise ValueError(f"{path}: page {number}: {error}") from error
    return pages


def omnidocbench_report(score: OmniDocBenchScore) -> dict[str, Any]:
    """All scores, as JSON."""
    return {
        "summary": {
            name: each._asdict() | {"overall": each.overall, "overall_edit": each.overall_edit}
            for name, each in score.summaries.items()
        },
        "missing": list(score.missing),
        "pages": [
            {
                "image": page.image,
                "language": page.language,
                "order_edit": page.order,
                "texts": list(map(_block, page.texts)),
                "formulas": list(map(_block, page.formulas)),
                "tables": list(map(_block, page.tables)),
            }
            for page in score.pages
        ],
    }


def _block(block: BlockScore) -> dict[str, Any]:
    row: dict[str, Any] = {"reference": block.reference, "page": block.page, "edit": block.edits / max(1, block.length)}
    if block.table:
        return row | {"teds": block.table.teds, "teds_s": block.table.structure}
    return row | ({} if block.cdm is None else {"cdm": block.cdm})

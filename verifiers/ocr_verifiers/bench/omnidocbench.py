"""OmniDocBench: its file of pages, and a folder of transcriptions in markdown, scored."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ocr_verifiers.files.progress import Progress, silent
from ocr_verifiers.metrics.omnidocbench import scoring
from ocr_verifiers.metrics.omnidocbench.reference import ReferencePage, Version, reference_page
from ocr_verifiers.metrics.omnidocbench.scoring import BlockScore, PageScore, Summary, summary
from ocr_verifiers.metrics.omnidocbench.v16 import scoring as scoring_v16


class Category(NamedTuple):
    """The blocks of a kind of the reference, and what is only on the page."""

    blocks: int
    edit: float
    """The mean over blocks of edits / length."""


@dataclass(frozen=True)
class OmniDocBenchScore:
    """All pages of the benchmark, scored."""

    pages: Sequence[PageScore]
    missing: Sequence[str]
    """Images without a transcription, which count as empty pages."""
    unused: Sequence[str] = ()
    """Files that are the transcription of no image."""

    @property
    def summaries(self) -> dict[str, Summary]:
        """For all pages, and for those of each value of their attributes."""
        groups: defaultdict[str, list[PageScore]] = defaultdict(list)
        for page in self.pages:
            for name, values in page.attributes.items():
                several = values if isinstance(values, list) else [values]
                for group in dict.fromkeys(f"{name}: {value}" for value in several if value not in (None, "")):
                    groups[group].append(page)
        return {"all": summary(self.pages)} | {name: summary(groups[name]) for name in sorted(groups)}

    @property
    def categories(self) -> dict[str, Category]:
        """For each kind of block; blocks that are only on the page are `unexpected`."""
        edits: defaultdict[str, list[float]] = defaultdict(list)
        for page in self.pages:
            for block in (*page.texts, *page.formulas, *page.tables):
                edits[block.kind or "unexpected"].append(block.edit)
        return {kind: Category(len(of), math.fsum(of) / len(of)) for kind, of in sorted(edits.items())}


def score_omnidocbench(
    pages: Path, predictions: Path, progress: Progress = silent, version: Version = "v1.5"
) -> OmniDocBenchScore:
    """Scores the transcriptions of a folder: `<image>.md`, or `<image without its ending>.md`.

    Raises ValueError, naming the file and the page, if the file is not one of the benchmark, if a transcription cannot
    be read or may be of two images, or if the folder has none.
    """
    score_page = {"v1.5": scoring.score_page, "v1.6": scoring_v16.score_page}[version]
    references = read_omnidocbench(pages, version)
    files = _transcriptions([page.image for page in references], pages, predictions)
    scores = []
    for page in progress(references, "pages"):
        file = files[page.image]
        scores.append(score_page(page, "" if file is None else _read(file)))
    missing = [image for image, file in files.items() if file is None]
    used = {file.name for file in files.values() if file}
    return OmniDocBenchScore(scores, missing, sorted({file.name for file in predictions.glob("*.md")} - used))


def _transcriptions(images: Sequence[str], pages: Path, predictions: Path) -> dict[str, Path | None]:
    """The file of each image, or None if it has none."""
    sharing: defaultdict[str, list[str]] = defaultdict(list)
    for image in images:
        sharing[_short(image)].append(image)
    files: dict[str, Path | None] = {}
    for number, image in enumerate(images, 1):
        long, short = predictions / f"{image}.md", predictions / f"{_short(image)}.md"
        try:
            file = next((file for file in (long, short) if file.is_file()), None)
        except OSError as error:
            raise ValueError(f"{pages}: page {number}: no transcription of {image}: {error.strerror}") from error
        if file == short != long and len(both := sharing[_short(image)]) > 1:
            raise ValueError(
                f"{pages}: page {number}: {short} may be of {' or of '.join(both)}; write "
                + " and ".join(f"{name}.md" for name in both)
            )
        files[image] = file
    if not any(files.values()):
        image = images[0]
        name = image if len(sharing[_short(image)]) > 1 else _short(image)
        raise ValueError(f"{predictions} has no transcription; write that of {image} as {name}.md")
    return files


def _short(image: str) -> str:
    return image.rpartition(".")[0] or image


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not UTF-8: {error}") from error
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from error


def read_omnidocbench(path: Path, version: Version = "v1.5") -> list[ReferencePage]:
    """The pages of a file of the benchmark."""
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(records, list) or not records:
        raise ValueError(f"{path}: not a list of pages; write the JSON file of OmniDocBench")
    pages: list[ReferencePage] = []
    seen: dict[str, int] = {}
    for number, record in enumerate(records, 1):
        try:
            _check_characters(record)
            page = reference_page(record if isinstance(record, dict) else {}, version)
            if page.image in seen:
                raise ValueError(f"{page.image} is the image of page {seen[page.image]} too; write each once")
            seen[page.image] = number
            pages.append(page)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: page {number}: {error}") from error
    return pages


def _check_characters(record: Any) -> None:
    """Raises ValueError for what no file can have."""
    written = json.dumps(record, ensure_ascii=False)
    try:
        written.encode()
    except UnicodeEncodeError as error:
        around = written[max(0, error.start - 20) : error.end + 20]
        raise ValueError(f"half a surrogate pair in {around!r}; write the whole character") from error


def omnidocbench_report(score: OmniDocBenchScore) -> dict[str, Any]:
    """All scores, as JSON."""
    return {
        "summary": {
            name: each._asdict() | {"overall": each.overall, "overall_edit": each.overall_edit}
            for name, each in score.summaries.items()
        },
        "categories": {kind: category._asdict() for kind, category in score.categories.items()},
        "missing": list(score.missing),
        "unused": list(score.unused),
        "pages": [
            {
                "image": page.image,
                "attributes": dict(page.attributes),
                "order_edit": page.order,
                "texts": list(map(_block, page.texts)),
                "formulas": list(map(_block, page.formulas)),
                "tables": list(map(_block, page.tables)),
            }
            for page in score.pages
        ],
    }


def _block(block: BlockScore) -> dict[str, Any]:
    row: dict[str, Any] = {
        "kind": block.kind,
        "reference": block.reference,
        "page": block.page,
        "edit": block.edit,
    }
    if block.table:
        return row | {"teds": block.table.teds, "teds_s": block.table.structure}
    return row | ({} if block.cdm is None else {"cdm": block.cdm})

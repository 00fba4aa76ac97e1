"""Score transcriptions of held-out pages: pooled rates with intervals that resample documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ocr_rl.rewards import Rewarder
from ocr_rl.splits import document_of
from ocr_rl.types import Completion, Page
from ocr_verifiers import Rubric, Score, read_jsonl

if TYPE_CHECKING:
    from ocr_rl.rollout import Engine

RESAMPLES = 2000


@dataclass(frozen=True)
class PageResult:
    page: Page
    completion: Completion
    score: Score

    def as_dict(self) -> dict[str, Any]:
        """One row of an evaluation's `pages`."""
        row: dict[str, Any] = {"id": self.page.id, "document": document_of(self.page)}
        row |= {key: self.page.metadata[key] for key in ("source", "language") if key in self.page.metadata}
        row |= {"text": self.completion.text, "finish_reason": self.completion.finish_reason}
        row["reward"] = self.score.reward
        if self.score.char_edits is not None:
            row["cer"] = self.score.char_edits.error_rate
        row["failed_tests"] = {test.id: verdict.why for test, verdict in self.score.verdicts if not verdict.passed}
        return row


def transcribe(
    engine: Engine,
    pages: Sequence[Page],
    max_tokens: int,
    report: Callable[[int], object] = lambda done: None,
) -> list[Completion]:
    """Greedy, a few dozen pages at a time; `report` is told how many pages are done."""
    from ocr_rl.rollout import Sampling

    sampling = Sampling(group_size=1, temperature=0.0, max_tokens=max_tokens)
    completions: list[Completion] = []
    for start in range(0, len(pages), 32):
        groups = engine.generate(pages[start : start + 32], sampling, seed=0)
        completions += [group.completions[0] for group in groups]
        report(len(completions))
    return completions


def read_predictions(path: Path, pages: Sequence[Page]) -> tuple[list[Page], list[Completion]]:
    """The pages that a JSONL file of rows {id or file_name, text} transcribes, and their transcriptions.

    Raises:
        ValueError: a row without text, for an unknown page, or for one that an earlier row transcribes; no row.
    """
    by_id = {page.id: page for page in pages}
    found: dict[str, Completion] = {}
    for line, row in read_jsonl(path):
        page_id, text = row.get("id", row.get("file_name")), row.get("text")
        where = f"{path}:{line}"
        if not isinstance(text, str):
            raise ValueError(f'{where}: "text" is {text!r}; write the transcription as a string')
        if page_id not in by_id:
            raise ValueError(f"{where}: no page {page_id!r} in the data; write an id or file_name that it has")
        if page_id in found:
            raise ValueError(f"{where}: {page_id!r} is transcribed by an earlier row; write one row per page")
        found[page_id] = Completion((), text, "end", ())
    if not found:
        raise ValueError(f"{path}: holds no transcriptions")
    return [by_id[page_id] for page_id in found], list(found.values())


def score_pages(pages: Sequence[Page], completions: Sequence[Completion], rubric: Rubric) -> list[PageResult]:
    rewarder = Rewarder(rubric, pages)
    return [PageResult(p, c, rewarder.score(p, c)) for p, c in zip(pages, completions, strict=True)]


def summarize(results: Sequence[PageResult], seed: int = 0) -> dict[str, Any]:
    """The metrics of an evaluation, each with a 95 % bootstrap interval `<name>_ci` over documents.

    cer, wer: pooled edits over pooled reference lengths; cer_capped: the same with each page's edits capped at its
    length, so that one runaway page counts as one lost page; exact, similarity, truncated: means over pages;
    pass_rate: passed tests over all scored tests. A metric that no page allows is None.
    """
    documents = sorted({document_of(r.page) for r in results})
    row_of = {document: i for i, document in enumerate(documents)}
    counts = {name: np.zeros((len(documents), 2)) for name in _COUNTS}
    for result in results:
        for name, count in _COUNTS.items():
            counts[name][row_of[document_of(result.page)]] += count(result)
    # each resample draws as many documents as there are, with replacement: a row of multiplicities
    n = len(documents)
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    summary: dict[str, Any] = {}
    for name, pairs in counts.items():
        numerator, denominator = pairs.sum(0)
        if denominator == 0:
            summary |= {name: None, f"{name}_ci": None}
            continue
        sums = draws @ pairs
        rates = sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], np.nan)
        low, high = np.nanpercentile(rates, [2.5, 97.5])
        summary |= {name: numerator / denominator, f"{name}_ci": [float(low), float(high)]}
    return summary | {"n": len(results), "documents": n}


def _edits(result: PageResult, unit: str, cap: bool = False) -> tuple[float, float]:
    edits = getattr(result.score, unit)
    if edits is None:
        return 0, 0
    distance = min(edits.distance, edits.reference_length) if cap else edits.distance
    return distance, edits.reference_length


def _part(result: PageResult, name: str) -> tuple[float, float]:
    return (result.score.parts[name], 1) if name in result.score.parts else (0, 0)


_COUNTS: Mapping[str, Callable[[PageResult], tuple[float, float]]] = {
    "cer": lambda r: _edits(r, "char_edits"),
    "cer_capped": lambda r: _edits(r, "char_edits", cap=True),
    "wer": lambda r: _edits(r, "word_edits"),
    "exact": lambda r: _part(r, "exact"),
    "similarity": lambda r: _part(r, "similarity"),
    "pass_rate": lambda r: (r.score.passed, r.score.scored_tests),
    "truncated": lambda r: (not r.completion.finished, 1),
    "reward": lambda r: (r.score.reward, 1),
}
"""Per page, (numerator, denominator) of each rate."""


def table(columns: Mapping[str, Mapping[str, Any]]) -> str:
    """Evaluations side by side, e.g. {"before": ..., "after": ...}, with their intervals."""
    names = ("cer", "cer_capped", "wer", "exact", "similarity", "pass_rate", "truncated")
    lines = [f"{'':12}" + "".join(f"{title:>24}" for title in columns)]
    for name in names:
        cells = []
        for summary in columns.values():
            value, interval = summary[name], summary[f"{name}_ci"]
            cells.append("-" if value is None else f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]")
        lines.append(f"{name:12}" + "".join(f"{cell:>24}" for cell in cells))
    sizes = ", ".join(f"{title}: {s['n']} pages of {s['documents']} documents" for title, s in columns.items())
    return "\n".join([*lines, f"95 % intervals; {sizes}"])

"""The table of what degenerate policies earn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ocr_verifiers.cheats.pages import PROMPT, CheatedPage, cheated_pages
from ocr_verifiers.cheats.policies import CHEATS, completions
from ocr_verifiers.rewards.rubric import PreparedReference, Rubric, load_rubric
from ocr_verifiers.unit_tests.records import UnitTest

BOUND = 0.35
"""The share of the honest transcription's reward that any cheat may earn."""
HONEST = "the true text"
"""The policy that does not cheat."""


class Earned(NamedTuple):
    """What one completion earns on one page; None if the rubric cannot score it."""

    similarity: float
    """Edit similarity to the reference."""
    text_only: float | None
    """Reward if only the reference is known."""
    text_and_tests: float | None
    tests_only: float | None
    olmocr: float
    """olmOCR's reward, for the same tests."""


@dataclass(frozen=True)
class CheatTable:
    """What every policy earns on every page."""

    pages: Sequence[str]
    """Their names."""
    rows: dict[str, list[Earned]]
    """By policy, page by page; the honest policy first."""


def cheat_table(rubric: Rubric | None = None, pages: Sequence[CheatedPage] | None = None) -> CheatTable:
    """Scores all policies on all pages."""
    rubric = rubric or load_rubric("default")
    pages = cheated_pages() if pages is None else pages
    rows: dict[str, list[Earned]] = {name: [] for name in (HONEST, *CHEATS)}
    for at, page in enumerate(pages):
        scorers = _PageScorers(rubric, page)
        rows[HONEST].append(scorers.score(page.reference))
        elsewhere = [other.reference for other in (*pages[at + 1 :], *pages[:at])] or [PROMPT]
        for name, text in completions(page, elsewhere, PROMPT):
            rows[name].append(scorers.score(text))
    return CheatTable([page.name for page in pages], rows)


def markdown(table: CheatTable) -> Iterator[str]:
    """The lines of the table, with means over the pages."""
    yield "| policy | similarity | text | text and tests | tests | olmOCR's reward |"
    yield "|---|---|---|---|---|---|"
    for name, earned in table.rows.items():
        columns = [_mean([each[column] for each in earned]) for column in range(len(Earned._fields))]
        yield f"| {name} | {' | '.join(columns)} |"


class _PageScorers:
    """Everything that scores a page's completions."""

    def __init__(self, rubric: Rubric, page: CheatedPage) -> None:
        text_only = Rubric({"similarity": 1.0}, unit=rubric.unit, normalization=rubric.normalization)
        self._similarity = text_only.prepare(page.reference)
        self._by_knowledge = [
            _prepared(rubric, page.reference, ()),
            _prepared(rubric, page.reference, page.tests),
            _prepared(rubric, None, page.tests),
        ]
        self._olmocr = load_rubric("olmocr").prepare(None, page.tests)

    def score(self, text: str) -> Earned:
        text_only, text_and_tests, tests_only = (
            prepared.score(text).reward if prepared else None for prepared in self._by_knowledge
        )
        similarity = self._similarity.score(text).parts["similarity"]
        olmocr = self._olmocr.score(text).reward
        return Earned(similarity, text_only, text_and_tests, tests_only, olmocr)


def _prepared(rubric: Rubric, reference: str | None, tests: Sequence[UnitTest]) -> PreparedReference | None:
    """None if the rubric cannot score a page with only this."""
    try:
        return rubric.prepare(reference, tests)
    except ValueError:
        return None


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.2f}" if known else "-"

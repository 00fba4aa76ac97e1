"""What published rewards and this project's rubrics pay for pages that a reader would tell apart at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from ocr_verifiers.cheats.pages import PROMPT, CheatedPage, cheated_pages
from ocr_verifiers.cheats.policies import completions
from ocr_verifiers.cheats.published import PUBLISHED, PublishedReward
from ocr_verifiers.cheats.table import BOUND
from ocr_verifiers.markup.table_parsing import find_tables
from ocr_verifiers.rewards.rubric import PreparedReference, Rubric, load_rubric

RUBRICS = ("default", "layout", "format_decoupled", "ledger")
Change = Callable[[str], str | None]
"""Of a page's text; None where the page has nothing to change."""


def _with(pattern: str, change: Callable[[re.Match[str]], str], text: str) -> str | None:
    changed = re.sub(pattern, change, text)
    return None if changed == text else changed


def other_markup(text: str) -> str | None:
    """Tables in HTML become markdown, and the other way round."""
    tables = find_tables(text).grids
    if len(tables) != 1:
        return None
    rows = [[cell.written for cell in row] for row in tables[0].rows]
    if "<table" in text:
        lines = [f"| {' | '.join(row)} |" for row in rows]
        table = "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
        return re.sub(r"<table.*</table>", lambda _: table, text, flags=re.DOTALL)
    html = "<table>" + "".join(f"<tr>{''.join(f'<td>{c}</td>' for c in row)}</tr>" for row in rows) + "</table>"
    return re.sub(r"(?m)(?:^\|.*\|[ ]*\n?)+", lambda _: html + "\n", text)


def some_digits(text: str) -> str | None:
    """Every eighth digit is another one."""
    seen = 0

    def change(found: re.Match[str]) -> str:
        nonlocal seen
        seen += 1
        return str((int(found[0]) + 3) % 10) if seen % 8 == 0 else found[0]

    return _with("[0-9]", change, text)


def empty_cells(text: str) -> str | None:
    """Tables whose cells are empty."""
    text = _with(r"(<t[dh]>)[^<]*(</t[dh]>)", lambda cell: cell[1] + cell[2], text) or text
    return _with(r"(?m)^\|(?![ -]*---).*\|$", lambda row: re.sub(r"[^|]+", " ", row[0]), text)


def paragraphs_shuffled(text: str) -> str | None:
    """Paragraphs in another order."""
    pieces = re.split(r"\n\s*\n", text.strip())
    if len(pieces) < 3:
        return None
    Random(0).shuffle(pieces)
    return "\n\n".join(pieces)


HARD: Mapping[str, tuple[bool, Change]] = {
    "the true text": (True, lambda text: text),
    "the table in the other markup": (True, other_markup),
    "every word bold": (True, lambda text: re.sub(r"(?<![\w*])([^\W\d_]{3,})(?![\w*])", r"**\1**", text)),
    "no spaces": (False, lambda text: re.sub(r"(?<=\w) (?=\w)", "", text)),
    "one digit of eight wrong": (False, some_digits),
    "all digits wrong": (False, lambda text: _with("[0-9]", lambda d: str((int(d[0]) + 3) % 10), text)),
    "all cells empty": (False, empty_cells),
    "paragraphs shuffled": (False, paragraphs_shuffled),
    "the second half left out": (False, lambda text: text[: len(text) // 2]),
    "the page twice": (False, lambda text: f"{text}\n\n{text}"),
    "the page, then a loop": (False, lambda text: text + "and so on " * 60),
    "the page, then a comment of its length": (False, lambda text: f"{text}\n<!-- {'lies ' * (len(text) // 5)} -->"),
    "an empty page": (False, lambda text: ""),
}
"""By name, whether a reader has all of the page, and what is written."""


@dataclass(frozen=True)
class Audit:
    """Rewards of hard cases, means over the pages that have them, and what the cheating policies earn."""

    rewards: Sequence[str]
    """Their names."""
    hard: Mapping[str, Sequence[float]]
    """By case, a mean for each reward."""
    cheats: Sequence[tuple[int, str, float]]
    """For each reward, how many cheats earn more than max(0.35, their similarity) on average, the one that is furthest
    above it, and what it earns."""


def audit(pages: Sequence[CheatedPage] | None = None, cheats: bool = True) -> Audit:
    """Scores all hard cases, and with `cheats` all cheating policies, by every reward. Only the true text is known."""
    pages = cheated_pages() if pages is None else pages
    rubrics = {name: load_rubric(name) for name in RUBRICS}
    names = [*rubrics, *PUBLISHED]
    scorers = [_scorers(page.reference, rubrics) for page in pages]
    hard = {}
    for case, (_, change) in HARD.items():
        changed = [
            (own, text)
            for page, own in zip(pages, scorers, strict=True)
            if (text := change(page.reference)) is not None
        ]
        hard[case] = [sum(own[i](text) for own, text in changed) / len(changed) for i in range(len(names))]
    return Audit(names, hard, _cheats(pages, scorers) if cheats else ())


def _scorers(reference: str, rubrics: Mapping[str, Rubric]) -> list[Callable[[str], float]]:
    return [
        *(partial(_by_rubric, rubric.prepare(reference)) for rubric in rubrics.values()),
        *(partial(_as_published, each.reward, reference) for each in PUBLISHED.values()),
    ]


def _by_rubric(prepared: PreparedReference, text: str) -> float:
    return prepared.score(text).reward


def _as_published(reward: PublishedReward, reference: str, text: str) -> float:
    return reward(text, reference)


def _cheats(
    pages: Sequence[CheatedPage], scorers: Sequence[Sequence[Callable[[str], float]]]
) -> list[tuple[int, str, float]]:
    text_only = Rubric(weights={"similarity": 1.0}, gates={})
    earned: dict[str, list[list[float]]] = {}
    for at, (page, own) in enumerate(zip(pages, scorers, strict=True)):
        similarity = text_only.prepare(page.reference)
        elsewhere = [other.reference for other in (*pages[at + 1 :], *pages[:at])] or [PROMPT]
        for name, text in completions(page, elsewhere, PROMPT):
            row = [max(BOUND, similarity.score(text).reward), *(score(text) for score in own)]
            earned.setdefault(name, []).append(row)
    means = {name: [sum(column) / len(rows) for column in zip(*rows, strict=True)] for name, rows in earned.items()}
    found = []
    for i in range(1, len(scorers[0]) + 1):
        above = {name: row[i] - row[0] for name, row in means.items() if row[i] > row[0] + 1e-9}
        worst = max(above, key=lambda name: above[name], default="")
        found.append((len(above), worst, means[worst][i] if worst else 0.0))
    return found


def markdown(found: Audit) -> Iterator[str]:
    """The tables of an audit."""
    yield f"| page | reader has it | {' | '.join(found.rewards)} |"
    yield "|---|---|" + "---|" * len(found.rewards)
    for case, values in found.hard.items():
        yield f"| {case} | {'all' if HARD[case][0] else 'not all'} | {' | '.join(f'{value:.2f}' for value in values)} |"
    if found.cheats:
        yield ""
        yield "| reward | source | cheats above the bound | the furthest above it | earns |"
        yield "|---|---|---|---|---|"
        for name, (number, worst, earned) in zip(found.rewards, found.cheats, strict=True):
            source = PUBLISHED[name].source if name in PUBLISHED else "this project"
            yield f"| {name} | {source} | {number} | {worst or '-'} | {f'{earned:.2f}' if worst else '-'} |"

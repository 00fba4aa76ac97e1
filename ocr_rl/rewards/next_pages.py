"""Which pages to transcribe next: those that the policy is unsure of, and those with characters that others lack.

Neither a text nor a reward is needed. Disagreement is that of the samples of a page; which characters are on it is what
they agree on, so that a character which one sample makes up counts for nothing.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple

from ocr_rl.data.problems import Location, json_lines
from ocr_rl.rewards.group_files import fail_at, page_name
from ocr_rl.runs.atomic import atomic_file
from ocr_verifiers.rewards.consensus import consensus
from ocr_verifiers.text.median import median_text

ChosenBy = Literal["both", "disagreement", "coverage"]


class SampledPage(NamedTuple):
    id: str
    disagreement: float
    """1 - the mean agreement of its samples, in [0, 1]."""
    characters: frozenset[str]
    """Of what the samples agree on, without white space."""


class ChosenPage(NamedTuple):
    page: SampledPage
    score: float
    new: str
    """Characters that are on no page chosen before."""


def write_next_pages(groups: Path, out: Path, count: int, by: ChosenBy = "both") -> int:
    """Write {id, score, disagreement, new} for the pages to transcribe next, in this order; how many there are.

    Args:
        groups: lines of `ocr-rl rollout --no-score`, or of `ocr-rl transcribe --samples N --confidence`.

    Raises:
        ValueError: with file and line, if a line has not two samples or more, or its page is on an earlier line; there
            are fewer than `count` pages.
    """
    pages = read_samples(groups)
    if count > len(pages):
        raise ValueError(f"--count is {count}, but {groups} has {len(pages)} pages with samples; write at most that")
    chosen = choose_pages(pages, count, by)
    with atomic_file(out) as file:
        for one in chosen:
            row = {"id": one.page.id, "score": one.score, "disagreement": one.page.disagreement}
            rounded = {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}
            print(json.dumps(rounded | {"new": one.new}), file=file)
    return len(chosen)


def read_samples(groups: Path) -> list[SampledPage]:
    """The pages of a file, in order; those that could not be read are left out."""
    found: list[SampledPage] = []
    lines: dict[str, int | None] = {}
    for place, row in json_lines(groups, fail_at):
        name = page_name(row, place)
        if name in lines:
            fail_at(place.problem("id", f"is {name}, as on line {lines[name]}; keep one line of each page"))
        lines[name] = place.line
        if "error" not in row:
            texts = _texts(row, place)
            agreed = median_text(texts)
            found.append(SampledPage(name, 1 - fmean(consensus(texts)), frozenset("".join(agreed.split()))))
    return found


def _texts(row: Mapping[str, object], place: Location) -> list[str]:
    field = "completions" if "completions" in row else "samples"
    texts = row.get(field)
    if not isinstance(texts, list) or len(texts) < 2 or not all(isinstance(text, str) for text in texts):
        advice = "write them with `ocr-rl rollout --no-score`, or `ocr-rl transcribe --samples 8 --confidence`"
        fail_at(place.problem(field, f"must be two or more texts of the page; {advice}"))
    return texts


def choose_pages(pages: Sequence[SampledPage], count: int, by: ChosenBy = "both") -> list[ChosenPage]:
    """Page by page the one with the highest score, of equal ones the earlier.

    disagreement: 1 - agreement, over that of the page with the most. coverage: sum over the characters c of the page of
    log((1 + P) / d_c) / (1 + n_c), with d_c of the P pages having c, and n_c of those chosen so far; over the highest
    of all pages at the start. both: their mean.
    """
    having = Counter(character for page in pages for character in page.characters)
    rarity = {character: math.log((1 + len(pages)) / number) for character, number in having.items()}
    covered: Counter[str] = Counter()

    def coverage(page: SampledPage) -> float:
        return sum(rarity[character] / (1 + covered[character]) for character in sorted(page.characters))

    largest = max((coverage(page) for page in pages), default=0.0) or 1.0
    highest = max((page.disagreement for page in pages), default=0.0) or 1.0
    weights = {"both": (0.5, 0.5), "disagreement": (1.0, 0.0), "coverage": (0.0, 1.0)}[by]

    def score(page: SampledPage) -> float:
        return weights[0] * page.disagreement / highest + weights[1] * coverage(page) / largest

    left, chosen = list(pages), []
    for _ in range(count):
        best = max(left, key=score)
        new = "".join(sorted(character for character in best.characters if not covered[character]))
        chosen.append(ChosenPage(best, score(best), new))
        covered.update(best.characters)
        left.remove(best)
    return chosen

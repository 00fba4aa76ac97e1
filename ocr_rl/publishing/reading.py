"""Greedy transcriptions by a policy in memory: to compare two policies token by token, and to score one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rapidfuzz.distance import Levenshtein

from ocr_rl.data.loading import load_pages
from ocr_rl.data.synthetic.render import STYLES, Layout, render_collection
from ocr_rl.evaluation.completions import readable, transcribe_pages
from ocr_rl.evaluation.results import PageEvaluation, score_pages
from ocr_rl.models.policy import Policy
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.rollouts.console import Console
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.types import Completion, Page

Reading = tuple[Sequence[Page], Sequence[Completion]]
"""The pages that could be read, and the transcription of each."""


@dataclass(frozen=True)
class Difference:
    """A page that two policies read differently."""

    page: str
    expected: str
    found: str


@dataclass(frozen=True)
class Comparison:
    """What two policies read on the same pages."""

    pages: int
    characters: int
    """Of the expected transcriptions."""
    edits: int
    """Characters inserted, deleted or replaced."""
    differences: Sequence[Difference]
    """The pages whose tokens differ."""

    @property
    def share(self) -> float:
        """Changed characters in proportion to all; a page that was empty counts its new ones."""
        return self.edits / max(1, self.characters)

    def __str__(self) -> str:
        return f"{len(self.differences)} of {self.pages} pages, {self.edits:,} of {self.characters:,} characters"


@contextmanager
def rendered_pages(count: int) -> Iterator[Sequence[Page]]:
    """Pages for a checkpoint of which no pages are known; they are gone at the end of the block."""
    with TemporaryDirectory() as folder:
        render_collection(Path(folder), count, seed=0, layouts=[Layout()], style=STYLES["clean"])
        yield load_pages(folder)


def read(policy: Policy, pages: Sequence[Page], max_tokens: int, console: Console, label: str) -> Reading:
    """Raises ValueError if no page can be read."""
    with closing(TransformersEngine(policy)) as engine, console.bar(label, len(pages)) as report:
        results = transcribe_pages(engine, pages, max_tokens, report)
    return readable(pages, results)[:2]


def score(
    policy: Policy, pages: Sequence[Page], max_tokens: int, rewards: RewardFunction, console: Console, label: str
) -> list[PageEvaluation]:
    """Each readable page, transcribed and scored. Raises ValueError if no page can be read."""
    return score_pages(*read(policy, pages, max_tokens, console, label), rewards)


def compare(expected: Reading, found: Reading) -> Comparison:
    """Two readings of the same pages, token by token and character by character."""
    pairs = list(zip(*expected, found[1], strict=True))
    return Comparison(
        pages=len(pairs),
        characters=sum(len(one.text) for _, one, _ in pairs),
        edits=sum(Levenshtein.distance(one.text, other.text) for _, one, other in pairs),
        differences=[
            Difference(page.id, one.text, other.text)
            for page, one, other in pairs
            if list(one.token_ids) != list(other.token_ids)
        ],
    )

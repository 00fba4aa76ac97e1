"""Greedy transcriptions by a policy in memory: to compare two policies token by token, and to score one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ocr_rl.data.loading import load_pages
from ocr_rl.data.synthetic.render import STYLES, Layout, render_collection
from ocr_rl.evaluation.completions import readable, transcribe_pages
from ocr_rl.evaluation.results import PageEvaluation, score_pages
from ocr_rl.models.policy import Policy
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.rollouts.console import Console
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.types import Completion, Page

Reading = tuple[list[Page], list[Completion]]
"""The pages that could be read, and the transcription of each."""


@dataclass(frozen=True)
class Difference:
    """A page that two policies read differently."""

    page: str
    expected: str
    found: str


@contextmanager
def rendered_pages(count: int) -> Iterator[list[Page]]:
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


def differences(expected: Reading, found: Reading) -> list[Difference]:
    """The pages whose tokens differ."""
    return [
        Difference(page.id, one.text, other.text)
        for page, one, other in zip(expected[0], expected[1], found[1], strict=True)
        if list(one.token_ids) != list(other.token_ids)
    ]

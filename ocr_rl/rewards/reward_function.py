"""Scores groups of completions with `ocr_verifiers`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from random import Random

from ocr_rl.config.schema import RewardConfig
from ocr_rl.types import Completion, Group, Page
from ocr_verifiers import OutputFormat, PreparedReference, Rubric, Score, UnitTest, parse_test
from ocr_verifiers.rewards.gates import GATES
from ocr_verifiers.rewards.rubric import CONSENSUS
from ocr_verifiers.rewards.scoring_pool import KnownPage


@dataclass(frozen=True)
class ScoredGroup:
    group: Group
    scores: Sequence[Score]
    rewards: Sequence[float]
    """What advantages are computed from: the scores' rewards, unless a control experiment permuted them."""


def make_rubric(config: RewardConfig) -> Rubric:
    """For completions in markdown; see `RewardFunction.of_output`."""
    gates = {"end": config.end_gate, "repetition": config.repetition_gate}
    if config.wrong_numbers_gate < 1:
        gates["wrong_numbers"] = config.wrong_numbers_gate
    return Rubric(weights=config.weights, gates=gates, unsupported=config.unsupported, agreement=config.agreement)


def scored_group(group: Group, scores: Sequence[Score], permute: Random | None = None) -> ScoredGroup:
    """`permute` shuffles the rewards within the group."""
    rewards = [score.reward for score in scores]
    if permute is not None:
        permute.shuffle(rewards)
    return ScoredGroup(group, scores, rewards)


def gated_parts(score: Score, weights: Mapping[str, float]) -> list[float]:
    """Each weighted part of a reward times all gates; 0 for a part that does not apply to the page."""
    gates = prod(score.parts.get(gate, 1.0) for gate in GATES)
    return [score.parts.get(part, 0.0) * gates for part in weights]


def parse_tests(page: Page) -> list[UnitTest]:
    return [parse_test(record, f"{page.id}, test {i + 1}") for i, record in enumerate(page.tests)]


def _prepare(rubric: Rubric, page: Page) -> PreparedReference:
    tests = parse_tests(page)
    try:
        return rubric.prepare(page.text, tests)
    except ValueError as error:
        raise ValueError(f"{page.id}: {error}") from None


def check_scorable(rubric: Rubric, pages: Iterable[Page]) -> None:
    """Raises ValueError for a page with neither a reference nor a test that the rubric can use."""
    for page in pages:
        _prepare(rubric, page)


class RewardFunction:
    """Scores completions; each page's reference and tests are prepared once."""

    def __init__(self, rubric: Rubric, pages: Sequence[Page]) -> None:
        """Raises ValueError if a page has neither a reference nor a test that the rubric can use."""
        self.rubric = rubric
        self._prepared: dict[str, PreparedReference] = {page.id: _prepare(rubric, page) for page in pages}

    def of_output(self, output: OutputFormat) -> RewardFunction:
        """The same for completions that are written in `output`."""
        other = RewardFunction(replace(self.rubric, output=output), ())
        other._prepared = {name: replace(one, rubric=other.rubric) for name, one in self._prepared.items()}
        return other

    def prepared(self, page: Page) -> PreparedReference:
        """A page that was not there at the start is prepared now, and not kept."""
        return self._prepared.get(page.id) or _prepare(self.rubric, page)

    def known(self, page: Page) -> KnownPage:
        """What another process needs to prepare the page."""
        prepared = self._prepared.get(page.id)
        return KnownPage(page.id, page.text, prepared.tests if prepared else tuple(parse_tests(page)))

    def score(self, page: Page, completion: Completion) -> Score:
        return self.prepared(page).score(completion.text, finished=completion.finished)

    def compare_siblings(self, group: Group, scores: Sequence[Score]) -> list[Score]:
        """The scores of all completions of a group, with `consensus` if the rubric weighs it."""
        if not self.rubric.weights.get(CONSENSUS):
            return list(scores)
        return self.prepared(group.page).compare_siblings([c.text for c in group.completions], scores)

    def score_groups(self, groups: Sequence[Group], permute: Random | None = None) -> list[ScoredGroup]:
        """Score every completion, identical ones once. `permute` shuffles the rewards within each group."""
        scored = []
        for group in groups:
            known: dict[tuple[str, bool], Score] = {}
            for completion in group.completions:
                key = completion.text, completion.finished
                if key not in known:
                    known[key] = self.score(group.page, completion)
            scores = [known[c.text, c.finished] for c in group.completions]
            scored.append(scored_group(group, self.compare_siblings(group, scores), permute))
        return scored

"""Scores groups of completions with `ocr_verifiers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from random import Random
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ocr_rl.config.schema import RewardConfig
from ocr_rl.data.indexed import IndexedPages, flags, where
from ocr_rl.types import Completion, Group, Page
from ocr_verifiers import OutputFormat, PreparedReference, Rubric, Score, ScoringPool, UnitTest, load_rubric, parse_test
from ocr_verifiers.rewards.functions import FunctionError, function_digests
from ocr_verifiers.rewards.gates import GATES
from ocr_verifiers.rewards.rubric import ALWAYS_REPORTED, CONSENSUS
from ocr_verifiers.rewards.scoring_pool import KnownPage
from ocr_verifiers.unit_tests.run import Compat

TIMEOUT_S = 60.0
"""For one completion, in a scoring process."""


@dataclass(frozen=True)
class ScoredGroup:
    group: Group
    scores: Sequence[Score]
    rewards: Sequence[float]
    """What advantages are computed from: the scores' rewards, unless a control experiment permuted them."""


def make_rubric(config: RewardConfig) -> Rubric:
    """For completions in markdown; see `RewardFunction.of_output`."""
    gates = {"end": config.end_gate, "repetition": config.repetition_gate}
    optional = {"compression": config.compression_gate, "wrong_numbers": config.wrong_numbers_gate}
    gates |= {gate: factor for gate, factor in optional.items() if factor < 1}
    try:
        return Rubric(
            weights=config.weights,
            functions=tuple(config.functions),
            gates=gates,
            unsupported=config.unsupported,
            agreement=config.agreement,
            normalization=tuple(config.normalization),
            equivalences=tuple((first, second) for first, second in config.equivalences),
            unit=config.unit,
            compat=config.compat or None,
        )
    except ValueError as error:
        raise ValueError(f"[reward]: {error}") from None


def named_rubric(name: str | None) -> Rubric:
    """A shipped rubric by its name, or one from a TOML file; None: the rubric of `ocr-rl train` by default."""
    return make_rubric(RewardConfig()) if name is None else load_rubric(name)


def chosen_output(rubric: Rubric, given: Literal["auto", OutputFormat]) -> Literal["auto", OutputFormat]:
    """The output format of completions: `given` (`--output`), or that of a rubric which is not for markdown.

    Raises ValueError if they contradict each other.
    """
    if rubric.output == "markdown":
        return given
    if given not in ("auto", rubric.output):
        raise ValueError(f"--output is {given}, and the output of the rubric is {rubric.output}; leave one of them out")
    return rubric.output


def scoring_settings(name: str | None) -> dict[str, Any]:
    """What a file of results says of the rubric it was scored with; nothing of the default."""
    if name is None:
        return {}
    rubric = load_rubric(name)
    return {"rubric": {**asdict(rubric), "functions": function_digests(rubric.functions)}}


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


def parse_tests(page: Page, compat: Compat | None = None) -> list[UnitTest]:
    return [parse_test(record, f"{page.id}, test {i + 1}", compat) for i, record in enumerate(page.tests)]


def _prepare(rubric: Rubric, page: Page) -> PreparedReference:
    tests = parse_tests(page, rubric.compat)
    try:
        return rubric.prepare(page.text, tests)
    except ValueError as error:
        raise ValueError(f"{page.id}: {error}") from None


def check_scorable(rubric: Rubric, pages: Sequence[Page]) -> None:
    """Raises ValueError for a page with neither a reference nor a test that the rubric can use."""
    if isinstance(pages, IndexedPages):
        pages = where(pages, ~_plainly_scorable(rubric, pages))
    for page in pages:
        _prepare(rubric, page)


def try_functions(rubric: Rubric, pages: Sequence[Page]) -> None:
    """Runs the rubric's functions on the texts of two pages, and on empty completions.

    Raises ValueError, with the page and a traceback, for a function that fails or takes longer than TIMEOUT_S.
    """
    if rubric.functions:
        reward_function = RewardFunction(rubric, pages[:2])
        for text in (None, ""):
            completions = [Completion((), page.text or "" if text is None else text, "end", ()) for page in pages[:2]]
            for page, score in zip(pages, reward_function.scores(pages[:2], completions), strict=False):
                if score.trouble:
                    raise FunctionError(f"{page.id}: {', '.join(rubric.functions)}: {score.trouble}")


def _plainly_scorable(rubric: Rubric, pages: Sequence[Page]) -> NDArray[np.bool_]:
    """For each page whether no look at it is needed: a text and a part that every text has."""
    texts, tests = flags(pages, "has_text"), flags(pages, "has_tests")
    weighed = any(rubric.weights.get(part) for part in ALWAYS_REPORTED)
    return texts & weighed & ~(tests & (rubric.compat is not None))


class RewardFunction:
    """Scores completions; each page's reference and tests are prepared once, those of indexed pages when needed."""

    def __init__(self, rubric: Rubric, pages: Sequence[Page]) -> None:
        """Raises ValueError if a page has neither a reference nor a test that the rubric can use."""
        self.rubric = rubric
        self._prepared: dict[str, PreparedReference] = {}
        if isinstance(pages, IndexedPages):
            check_scorable(rubric, pages)
        else:
            self._prepared = {page.id: _prepare(rubric, page) for page in pages}

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
        tests = prepared.tests if prepared else tuple(parse_tests(page, self.rubric.compat))
        return KnownPage(page.id, page.text, tests)

    def score(self, page: Page, completion: Completion) -> Score:
        try:
            return self.prepared(page).score(completion.text, finished=completion.finished)
        except FunctionError as error:
            raise error.at(page.id) from error

    def scores(self, pages: Sequence[Page], completions: Sequence[Completion]) -> list[Score]:
        """One for each page and completion; functions are run in another process, with a time limit."""
        each = zip(pages, completions, strict=True)
        if not self.rubric.functions:
            return [self.score(page, completion) for page, completion in each]
        scores = []
        with ScoringPool(self.rubric, 1, TIMEOUT_S) as pool:
            known = {page.id: self.known(page) for page in pages}
            asked = [(page, pool.submit(known[page.id], [(c.text, c.finished)])) for page, c in each]
            for page, answer in asked:
                try:
                    scores += answer.result()
                except FunctionError as error:
                    raise error.at(page.id) from error
        return scores

    def compare_siblings(self, group: Group, scores: Sequence[Score]) -> list[Score]:
        """The scores of all completions of a group, with `consensus` if the rubric weighs it."""
        if not self.rubric.weights.get(CONSENSUS):
            return list(scores)
        return self.prepared(group.page).compare_siblings([c.text for c in group.completions], scores)

    def score_groups(self, groups: Sequence[Group], permute: Random | None = None) -> list[ScoredGroup]:
        """Score every completion, identical ones once. `permute` shuffles the rewards within each group."""
        distinct = {(i, c.text, c.finished): c for i, group in enumerate(groups) for c in group.completions}
        pages = [groups[i].page for i, _, _ in distinct]
        known = dict(zip(distinct, self.scores(pages, list(distinct.values())), strict=True))
        scored = []
        for i, group in enumerate(groups):
            scores = [known[i, c.text, c.finished] for c in group.completions]
            scored.append(scored_group(group, self.compare_siblings(group, scores), permute))
        return scored

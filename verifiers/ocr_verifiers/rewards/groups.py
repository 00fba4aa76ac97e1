"""Groups: the completions of one page, scored with its reference and tests. JSON Lines in and out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from ocr_verifiers.files.jsonl import RecordError
from ocr_verifiers.rewards.functions import FunctionError
from ocr_verifiers.rewards.rubric import CONSENSUS, Rubric, Score
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.records import UnitTest, parse_test
from ocr_verifiers.unit_tests.run import Compat

FIELDS = ("id", "reference", "tests", "completions", "finished")

OLMOCR = Rubric(weights={"pass_rate": 1.0}, gates={}, compat="olmocr")
"""olmOCR's own reward: the share of tests that pass by its own verdicts."""


@dataclass(frozen=True)
class Group:
    """One page: its reference, its tests and its completions."""

    where: str
    """File and line, for error messages: `rollout.jsonl:17`."""
    id: str | int
    reference: str | None
    """The true transcription, or None."""
    tests: tuple[UnitTest, ...]
    completions: tuple[str, ...]
    finished: tuple[bool, ...]
    """For each completion: False if it was cut off."""

    @cached_property
    def distinct(self) -> tuple[tuple[str, bool], ...]:
        """Each distinct completion once, with whether it was finished, in order of first appearance."""
        return tuple(dict.fromkeys(zip(self.completions, self.finished, strict=True)))

    def spread(self, scores: Sequence[Score]) -> list[Score]:
        """Assigns the scores of `distinct` to all completions."""
        known = dict(zip(self.distinct, scores, strict=True))
        return [known[key] for key in zip(self.completions, self.finished, strict=True)]


def score_groups(rubric: Rubric, groups: Iterable[Group]) -> Iterator[tuple[Group, list[Score]]]:
    """Each group with the scores of its completions, in order. Identical completions are scored once."""
    for group in groups:
        try:
            prepared = rubric.prepare(group.reference, group.tests)
            scores = [prepared.score(text, finished) for text, finished in group.distinct]
            scores = compared(rubric, group, group.spread(scores))
        except FunctionError as error:
            raise error.at(group.where) from error
        except ValueError as error:
            raise ValueError(f"{group.where}: {error}") from error
        yield group, scores


def compared(rubric: Rubric, group: Group, scores: list[Score]) -> list[Score]:
    """The scores of all completions of a group, with `consensus` if the rubric weighs it."""
    if not rubric.weights.get(CONSENSUS):
        return scores
    return rubric.prepare(group.reference, group.tests).compare_siblings(group.completions, scores)


def read_groups(
    rows: Iterable[tuple[int, dict[str, Any]]], name: str, compat: Compat | None = None, labelled: bool = True
) -> Iterator[Group]:
    """Groups from numbered objects (`read_jsonl`). Error messages start with `name`. Other fields are ignored.

    Raises RecordError for a field of the wrong type, a misspelt field, and if they must be `labelled` for a group with
    neither reference nor tests.
    """
    for number, row in rows:
        yield _group(row, f"{name}:{number}", compat, labelled)


def _group(row: dict[str, Any], where: str, compat: Compat | None, labelled: bool) -> Group:
    for given in row.keys() - set(FIELDS):
        near = get_close_matches(given, set(FIELDS) - row.keys(), n=1, cutoff=0.8)
        if near:
            raise RecordError(f'{where}: unknown field {quoted(given)}; did you mean "{near[0]}"?')
    identity, reference, completions = row.get("id"), row.get("reference"), row.get("completions")
    if not isinstance(identity, str | int) or isinstance(identity, bool):
        raise RecordError(f'{where}: "id" must be a string or an integer')
    if not isinstance(reference, str | None):
        raise RecordError(f'{where}: "reference" must be a string, or be left out')
    if not isinstance(completions, list) or not all(isinstance(text, str) for text in completions):
        raise RecordError(f'{where}: "completions" must be a list of strings')
    finished = row.get("finished")
    finished = [True] * len(completions) if finished is None else finished
    if not isinstance(finished, list) or [type(flag) for flag in finished] != [bool] * len(completions):
        raise RecordError(f'{where}: "finished" must be a list of true or false, one for each completion')
    tests = parse_tests(row.get("tests"), where, compat)
    known: dict[str, int] = {}
    for number, test in enumerate(tests, 1):
        if test.id in known:
            raise RecordError(f"{where}, test {number}: id {quoted(test.id)} is that of test {known[test.id]} too")
        known[test.id] = number
    if labelled and reference is None and not tests:
        raise RecordError(f'{where}: has neither "reference" nor "tests"; there is nothing to score with')
    return Group(where, identity, reference, tests, tuple(completions), tuple(finished))


def parse_tests(records: object, where: str, compat: Compat | None = None) -> tuple[UnitTest, ...]:
    """Parses a list of unit test records; None is an empty list. Errors give the test's position, from 1."""
    if records is None:
        return ()
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise RecordError(f'{where}: "tests" must be a list of objects, one for each unit test')
    return tuple(parse_test(record, f"{where}, test {i}", compat) for i, record in enumerate(records, 1))


def group_row(group: Group, scores: Sequence[Score]) -> dict[str, Any]:
    """A scored group as JSON. Verdicts are in the order of the tests, without tests that were not run."""
    return {"id": group.id, "completions": [_score_row(score) for score in scores]}


def _score_row(score: Score) -> dict[str, Any]:
    row = {
        "reward": score.reward,
        "parts": dict(score.parts),
        "verdicts": [{"id": test.id, "passed": verdict.passed, "why": verdict.why} for test, verdict in score.verdicts],
    }
    if score.malformed:
        row["malformed"] = score.malformed
    return row | {"why": score.trouble} if score.trouble else row

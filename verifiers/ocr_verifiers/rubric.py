"""The reward of a completion: a weighted mean of quality parts, times gates.

    reward = (sum of weight * part / sum of weight, over the parts that apply) * product of gates

Parts say how good the transcription is:
    similarity   1 - edit distance / length of the longer text; applies where there is a reference
    exact        1 if reference and completion are equal after normalisation, else 0; likewise
    pass_rate    tests passed / tests scored; applies where a test of a scored kind exists
    front_matter 0 if it is missing or wrong in form, else 0.5 + 0.5 * share of the fields that the reference has too;
                 applies where the reference has front matter, or the rubric weighs this part
Front matter is taken off completion and reference before anything else is scored.
Gates say what is wrong with its form; each multiplies by 1, or by its factor in (0, 1] when it closes:
    end          the completion was cut off
    repetition   the completion loops
Gates never add: form alone earns nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ocr_verifiers.checks import baseline
from ocr_verifiers.edit_distance import EditCounts, Unit, char_edits, check_unit, word_edits
from ocr_verifiers.front_matter import Scalar, front_matter_score, split_front_matter
from ocr_verifiers.judge import Compat, run_test
from ocr_verifiers.names import suggestion
from ocr_verifiers.normalize import normalize
from ocr_verifiers.page import PreparedPage
from ocr_verifiers.records import SCORED_KINDS, BaselineTest, UnitTest
from ocr_verifiers.repetition import MAX_REPEATS, judge_loops
from ocr_verifiers.verdict import PASS, Verdict, fail

PARTS = ("similarity", "exact", "pass_rate", "front_matter")
GATES = ("end", "repetition")


@dataclass(frozen=True)
class Score:
    """What a completion earned, and why."""

    reward: float
    """In [0, 1]."""
    parts: Mapping[str, float]
    """Each quality part that applies, weighted or not, and each gate's factor (1 when open), by name."""
    verdicts: tuple[tuple[UnitTest, Verdict], ...] = ()
    """The scored tests, in the order given."""
    not_scored: tuple[UnitTest, ...] = ()
    """Tests of kinds that have no check, neither passed nor failed."""
    char_edits: EditCounts | None = None
    """None without a reference."""
    word_edits: EditCounts | None = None
    trouble: str = ""
    """Why there are no parts (scoring took too long, say): the reward is 0 then, and every test failed."""

    @property
    def passed(self) -> int:
        """How many scored tests passed."""
        return sum(verdict.passed for _, verdict in self.verdicts)

    @property
    def scored_tests(self) -> int:
        """How many tests were scored."""
        return len(self.verdicts)


@dataclass(frozen=True)
class Rubric:
    """How completions are scored. Frozen: one rubric serves all pages."""

    weights: Mapping[str, float] = field(default_factory=lambda: {"similarity": 1.0, "pass_rate": 1.0})
    """Of the quality parts. A part that does not apply to a page leaves the mean."""
    gates: Mapping[str, float] = field(default_factory=lambda: {"end": 0.5, "repetition": 0.5})
    """The factor of each closed gate, in (0, 1]; a gate that is not named stays open."""
    normalization: tuple[str, ...] = ("nfc", "whitespace")
    """Applied to reference and completion before edits are counted; unit tests have their own."""
    unit: Unit = "codepoint"
    """What a character is, for similarity and CER."""
    compat: Compat | None = None
    """`olmocr`: its verdicts, holes included. Rejected tests are run, and `absent` pays on any page."""

    def __post_init__(self) -> None:
        _check_names("quality part", self.weights, PARTS)
        _check_names("gate", self.gates, GATES)
        if not all(math.isfinite(w) and w >= 0 for w in self.weights.values()) or not sum(self.weights.values()):
            raise ValueError(f"weights are {dict(self.weights)}; write numbers >= 0, one of them positive")
        if not all(0 < factor <= 1 for factor in self.gates.values()):
            raise ValueError(f"gates are {dict(self.gates)}; write factors above 0 and up to 1")
        check_unit(self.unit)
        object.__setattr__(self, "normalization", tuple(self.normalization))
        normalize("", self.normalization)

    def prepare(self, reference: str | None = None, tests: Sequence[UnitTest] = ()) -> PreparedReference:
        """What is known of a page, normalised and sorted once for all its completions.

        A page to which no weighted part applies cannot be scored: a ValueError. Rejected tests are left out.
        """
        scored = tuple(test for test in tests if test.scored or (self.compat and test.type in SCORED_KINDS))
        not_scored = tuple(test for test in tests if test.type not in SCORED_KINDS and test.checked != "rejected")
        front = None if reference is None else split_front_matter(reference)
        expected = None if front is None else front.fields
        applies = {
            "similarity": reference is not None,
            "exact": reference is not None,
            "pass_rate": bool(scored),
            "front_matter": expected is not None or bool(self.weights.get("front_matter")),
        }
        if not any(weight and applies[name] for name, weight in self.weights.items()):
            kinds = Counter(test.type for test in not_scored)
            without_check = (
                f" (without a check: {', '.join(f'{n} {kind}' for kind, n in kinds.items())})" if kinds else ""
            )
            raise ValueError(
                f"the page cannot be scored: it has {'no' if reference is None else 'a'} reference and "
                f"{len(scored)} scored tests{without_check}, and the rubric weighs {', '.join(self.weights)}"
            )
        normalized = None if front is None else normalize(front.body, self.normalization)
        guards = () if self.compat else _guards(scored)
        return PreparedReference(self, normalized, expected, applies["front_matter"], scored, not_scored, guards)

    def score(
        self,
        completion: str,
        *,
        reference: str | None = None,
        tests: Sequence[UnitTest] = (),
        finished: bool = True,
    ) -> Score:
        """The score of one completion; `prepare` once and score there when a page has several."""
        return self.prepare(reference, tests).score(completion, finished)


@dataclass(frozen=True)
class PreparedReference:
    """A page's reference and tests, ready to score its completions; made by `Rubric.prepare`."""

    rubric: Rubric
    reference: str | None
    """Normalised, without its front matter."""
    front_matter: Mapping[str, Scalar] | None
    """The fields that the reference has."""
    scores_front_matter: bool
    tests: tuple[UnitTest, ...]
    """The scored ones."""
    not_scored: tuple[UnitTest, ...]
    guards: tuple[BaselineTest, ...]
    """The baseline tests that a completion has to pass before an `absent` test pays."""

    def score(self, completion: str, finished: bool = True) -> Score:
        """The score of one completion; `finished` is False for one that was cut off."""
        rubric, page = self.rubric, PreparedPage(completion)
        parts: dict[str, float] = {}
        characters = words = None
        if self.reference is not None:
            normalized = normalize(page.body, rubric.normalization)
            characters = char_edits(self.reference, normalized, rubric.unit)
            words = word_edits(self.reference, normalized)
            parts["similarity"] = characters.similarity
            parts["exact"] = float(characters.distance == 0)
        verdicts = self._verdicts(page)
        if verdicts:
            parts["pass_rate"] = sum(verdict.passed for _, verdict in verdicts) / len(verdicts)
        if self.scores_front_matter:
            parts["front_matter"], _ = front_matter_score(page.front_matter, self.front_matter)
        weights = {name: weight for name, weight in rubric.weights.items() if name in parts}
        reward = sum(weight * parts[name] for name, weight in weights.items()) / sum(weights.values())
        is_open = {"end": finished, "repetition": judge_loops(page.loops, MAX_REPEATS).passed}
        for name, factor in rubric.gates.items():
            parts[name] = 1.0 if is_open[name] else factor
            reward *= parts[name]
        return Score(reward, parts, verdicts, self.not_scored, characters, words)

    def _verdicts(self, page: PreparedPage) -> tuple[tuple[UnitTest, Verdict], ...]:
        """Each test's verdict, where an `absent` test passes only on a page that passes its baseline."""
        guard = PASS
        if any(test.type == "absent" for test in self.tests):
            guard = next((v for v in (baseline(test, page) for test in self.guards) if not v.passed), PASS)
        verdicts = []
        for test in self.tests:
            verdict = run_test(test, page, self.rubric.compat)
            if test.type == "absent" and verdict.passed and not guard.passed:
                verdict = fail(f"the page fails baseline: {guard.why}")
            verdicts.append((test, verdict))
        return tuple(verdicts)


def _guards(tests: Sequence[UnitTest]) -> tuple[BaselineTest, ...]:
    """The page's own baseline tests, or else the default one, which allows every script."""
    own = tuple(test for test in tests if isinstance(test, BaselineTest))
    return own or (BaselineTest(pdf="", page=1, id="", type="baseline"),)


def _check_names(what: str, given: Mapping[str, float], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f'unknown {what} "{name}"; {suggestion(name, known)}')

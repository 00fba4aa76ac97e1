"""The reward of a completion: a weighted mean of quality parts, times gates.

    reward = (sum of weight * part / sum of weight, over the parts that apply) * product of gates

Parts measure how good the transcription is, each in [0, 1]. Those that compare it with a reference:
    similarity       1 - edit distance / length of the longer text, in characters of what is read: see `parts`;
                     word_similarity: in words
    exact            1 if reference and completion are equal after normalisation, else 0
    length           characters of the shorter text / characters of the longer one
    numbers          F1 of the numbers;  applies if the reference has any
    paragraphs       1 - difference in their number / the reference's number;  at least 0
    reading_order    share of the pairs of paragraphs that are there and in order
    prose, formulas, tables      each format by its own measure;  apply if the reference has it
    format_decoupled these three, weighted by their shares of the reference's characters
    anls             ANLS* of two JSON values;  applies if the reference is a JSON object or array
    grits_con, grits_top         GriTS of the tables, by content and by topology;  apply if the reference has tables
    cdm              CDM of the formulas: see `metrics.cdm`;  applies if the reference has formulas
Those that sum up tests apply if there are tests:
    pass_rate        tests passed / tests;  pass_rate_macro: the mean of this over the kinds of tests
One compares the completions of a page with each other, and applies to every page:
    consensus        the mean similarity to the other completions: see `consensus`
And one about form:
    front_matter     0 if it is missing or malformed, else 0.5 + 0.5 * share of the fields that agree with the
                     reference;  applies if the reference has front matter, or the rubric weights this part
Front matter is removed from completion and reference before anything else is scored.

Tests check what is on the page and hardly what should not be, and other parts look at one side of it, such as numbers
or the order of paragraphs. So each but similarity, word_similarity and anls pays at most
    max(0.35, similarity)    with a reference: see `support`
    max(0.35, coherence)     without one: see `coherence`
The reward uses the smaller value; the reported part is unchanged.

Gates multiply by 1, or by their factor in (0, 1] when they close; they never add: form alone earns nothing.
    end             the completion was cut off
    repetition      the completion loops, and says something more often in a row than the reference
    compression     the completion compresses far better than pages and its reference do
    wrong_numbers   a number of the reference is missing, or another one is there: by min(0.9, factor + (1 - factor) F1)
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import get_args

from ocr_verifiers.markup.front_matter import Scalar, front_matter_score, split_front_matter
from ocr_verifiers.outputs.conversion import OutputFormat, check_output, to_markdown
from ocr_verifiers.rewards.coherence import Asked, Coherence, asked_for, coherence
from ocr_verifiers.rewards.consensus import Agreement, consensus
from ocr_verifiers.rewards.functions import RewardPage, function_name, function_values
from ocr_verifiers.rewards.gates import GATES, compression, number_factor, repetition
from ocr_verifiers.rewards.parts import REFERENCE_PARTS, TEST_PARTS, ComparedText, Comparison, PartValue
from ocr_verifiers.rewards.support import LIMITED, support
from ocr_verifiers.text.edit_distance import EditCounts, Unit, check_unit
from ocr_verifiers.text.equivalences import Pairs, read_equivalences
from ocr_verifiers.text.normalize import normalize
from ocr_verifiers.text.repetition import MAX_REPEATS
from ocr_verifiers.text.suggestions import suggestion
from ocr_verifiers.unit_tests.checks.baseline import baseline
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import BaselineTest, UnitTest
from ocr_verifiers.unit_tests.run import Compat, run_test
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail

CONSENSUS = "consensus"
PARTS = (*REFERENCE_PARTS, *TEST_PARTS, CONSENSUS, "front_matter")
ALWAYS_REPORTED = ("similarity", "exact")
"""Parts that are reported for every page with a reference, weighted or not. Others only if they are named."""
RUBRICS = Path(__file__).with_name("rubrics")


@dataclass(frozen=True)
class Score:
    """What a completion earned, and why."""

    reward: float
    """In [0, 1]."""
    parts: Mapping[str, float]
    """Each quality part that applies and is named or always reported, and each gate's factor (1 if open), by name."""
    verdicts: tuple[tuple[UnitTest, Verdict], ...] = ()
    """The tests that were run, in the order given."""
    char_edits: EditCounts | None = None
    """None without a reference."""
    word_edits: EditCounts | None = None
    trouble: str = ""
    """Why there are no parts, for example because scoring took too long. Then the reward is 0 and all tests fail."""
    why: Mapping[str, str] = field(default_factory=dict)
    """The reason for each part that is 0 or pays less than its value, and for each closed gate, by name."""
    malformed: str = ""
    """Why the completion is not in the rubric's output format; it was scored as it stands."""
    markdown: str | None = None
    """What was scored, if the output format made another text of the completion."""
    needs_siblings: bool = False
    """The reward is 0 because it is consensus alone, which takes several completions: see `compare_siblings`."""

    @property
    def passed(self) -> int:
        """The number of scored tests that passed."""
        return sum(verdict.passed for _, verdict in self.verdicts)

    @property
    def scored_tests(self) -> int:
        """The number of scored tests."""
        return len(self.verdicts)


@dataclass(frozen=True)
class Rubric:
    """How completions are scored. Frozen: one rubric serves all pages."""

    weights: Mapping[str, float] = field(default_factory=lambda: {"similarity": 1.0, "pass_rate": 1.0})
    """Weights of the quality parts. A part that does not apply to a page is left out of the mean."""
    gates: Mapping[str, float] = field(default_factory=lambda: {"end": 0.5, "repetition": 0.5, "wrong_numbers": 0.5})
    """The factor of each closed gate, in (0, 1]. A gate that is not named stays open."""
    normalization: tuple[str, ...] = ("nfc", "whitespace")
    """Applied to reference and completion before edits are counted. Unit tests have their own."""
    unit: Unit = "codepoint"
    """What a character is, for similarity and CER."""
    compat: Compat | None = None
    """`olmocr` for its verdicts, holes included: rejected tests are run, and `absent` pays on any page."""
    unsupported: float = 0.35
    """How much passed tests, and parts that look at one side of a page, pay at most on a page that is unlike its
    reference, or incoherent; 1 means no limit. Not used with `compat`, where tests pay as in olmOCR."""
    agreement: Agreement = "siblings"
    """What `consensus` compares a completion with: its siblings, or the one that agrees most with the others."""
    output: OutputFormat = "markdown"
    """The format of completions, which are converted to markdown before they are scored. References are markdown."""
    equivalences: Pairs = ()
    """Pairs of texts that count as equal, applied after `normalization`; in a rubric's file the name of a TSV file."""
    functions: tuple[str, ...] = ()
    """Further parts, as Python functions: `my_rewards.py:score`. `weights` may name each; if it does not, it weighs 1.
    In a rubric's file, paths are relative to the file."""

    def __post_init__(self) -> None:
        names = [function_name(spec) for spec in self.functions]
        for name in names:
            if name in PARTS or names.count(name) > 1:
                raise ValueError(f"functions has {name} twice, or it is a part already; give it another name")
        object.__setattr__(self, "functions", tuple(self.functions))
        object.__setattr__(self, "weights", {**self.weights, **{n: 1.0 for n in names if n not in self.weights}})
        _check_names("quality part", self.weights, (*PARTS, *names))
        _check_names("gate", self.gates, GATES)
        if not all(math.isfinite(w) and w >= 0 for w in self.weights.values()) or not sum(self.weights.values()):
            raise ValueError(f"weights are {dict(self.weights)}; write numbers >= 0, one of them positive")
        if not all(0 < factor <= 1 for factor in self.gates.values()):
            raise ValueError(f"gates are {dict(self.gates)}; write factors above 0 and up to 1")
        if not 0 <= self.unsupported <= 1:
            raise ValueError(f"unsupported is {self.unsupported}; write a number from 0 to 1")
        check_unit(self.unit)
        check_output(self.output)
        if self.agreement not in get_args(Agreement):
            raise ValueError(f'unknown agreement "{self.agreement}"; {suggestion(self.agreement, get_args(Agreement))}')
        if self.compat is not None and self.compat not in get_args(Compat):
            raise ValueError(f'unknown compat "{self.compat}"; {suggestion(str(self.compat), get_args(Compat))}')
        object.__setattr__(self, "normalization", tuple(self.normalization))
        normalize("", self.normalization)

    def prepare(self, reference: str | None = None, tests: Sequence[UnitTest] = ()) -> PreparedReference:
        """Prepares a page's reference and tests once for all its completions.

        Raises ValueError if no weighted part applies to the page. Rejected tests are left out.
        """
        scored = tuple(test for test in tests if self.compat or not test.rejected)
        front = None if reference is None else split_front_matter(reference)
        expected = None if front is None else front.fields
        texts = None
        if reference is not None and front is not None:
            texts = ComparedText(
                front.body, self.normalization, self.unit, len(reference) - len(front.body), self.equivalences
            )
        applies = {*TEST_PARTS} if scored else set()
        applies |= {function_name(spec) for spec in self.functions}
        if expected is not None or self.weights.get("front_matter"):
            applies.add("front_matter")
        if texts is not None:  # a part that the reference has nothing of is None even for the reference itself
            itself = Comparison(texts, texts)
            named = [name for name in REFERENCE_PARTS if name in self.weights]
            applies |= {*ALWAYS_REPORTED, *(name for name in named if REFERENCE_PARTS[name](itself) is not None)}
        weights = {name: weight for name, weight in self.weights.items() if name in applies}
        if not any(weights.values()) and not self.weights.get(CONSENSUS):
            raise ValueError(
                f"the page cannot be scored: it has {'no' if reference is None else 'a'} reference and "
                f"{len(scored)} scored tests, and the rubric weighs {', '.join(self.weights)}"
            )
        return PreparedReference(
            self,
            texts,
            expected,
            weights,
            "front_matter" in applies,
            scored,
            _guards(scored, reference),
            asked_for(scored),
            reference,
        )

    def read(self, completion: str) -> tuple[PreparedPage, str | None]:
        """The completion as a page, and why it is not in the rubric's output format."""
        written = to_markdown(completion, self.output)
        return PreparedPage(written.front_matter + written.text), written.problem

    def read_text(self, completion: str) -> str:
        """What is read of the completion, normalised: the text whose similarity counts."""
        return self.compared(self.read(completion)[0]).read

    def compared(self, page: PreparedPage) -> ComparedText:
        """The completion as it is compared with a reference."""
        front_matter = len(page.text) - len(page.body)
        return ComparedText(page.body, self.normalization, self.unit, front_matter, self.equivalences)

    def score(
        self,
        completion: str,
        *,
        reference: str | None = None,
        tests: Sequence[UnitTest] = (),
        finished: bool = True,
    ) -> Score:
        """The score of one completion. If a page has several, call `prepare` once and score with the result."""
        return self.prepare(reference, tests).score(completion, finished)


@dataclass(frozen=True)
class PreparedReference:
    """A page's reference and tests, ready to score completions. Made by `Rubric.prepare`."""

    rubric: Rubric
    reference: ComparedText | None
    """Without its front matter."""
    front_matter: Mapping[str, Scalar] | None
    """The fields of the reference's front matter."""
    weights: Mapping[str, float]
    """The rubric's weights of the parts that apply."""
    scores_front_matter: bool
    tests: tuple[UnitTest, ...]
    """The tests that are run."""
    guards: tuple[BaselineTest, ...]
    """The baseline tests that a completion must pass before an `absent` test pays."""
    asked: Asked
    """The texts that the tests want on the page."""
    written: str | None = None
    """The reference with its front matter, for functions."""

    def score(self, completion: str, finished: bool = True) -> Score:
        """The score of one completion; `finished` is False for one that was cut off."""
        page, problem = self.rubric.read(completion)
        texts = self._compared(page)
        verdicts = self._verdicts(page)
        found = self._parts(page, texts, verdicts)
        about = RewardPage(self.written, self.tests, finished)
        for spec in self.rubric.functions:
            found |= {name: PartValue(value) for name, value in function_values(spec, page.text, about).items()}
        parts = {name: part.value for name, part in found.items()}
        why = {name: part.why for name, part in found.items() if part.why}
        paid = parts
        limited = [name for name in sorted(LIMITED & parts.keys()) if parts[name] > self.rubric.unsupported]
        if limited and not self.rubric.compat:
            supported = self._support(page, texts)
            limit = max(self.rubric.unsupported, supported.value)
            over = {name: limit for name in limited if parts[name] > limit}
            paid = parts | over
            why |= dict.fromkeys(over, f"pays {limit:.3g}: {supported.why}")
        total = sum(self.weights.values())
        reward = sum(weight * paid[name] for name, weight in self.weights.items()) / total if total else 0.0
        for name, (factor, reason) in self._gates(page, texts, finished).items():
            parts[name] = factor
            reward *= factor
            if reason:
                why[name] = reason
        return Score(
            min(1.0, reward),  # rounding may put a mean of ones above 1
            parts,
            verdicts,
            texts.characters if texts else None,
            texts.words if texts else None,
            why=why,
            malformed=problem or "",
            markdown=None if page.text == completion else page.text,
            needs_siblings=not total,
        )

    def compare_siblings(self, completions: Sequence[str], scores: Sequence[Score]) -> list[Score]:
        """The scores of all completions of the page, with `consensus` if the rubric weighs it.

        reward = (W r + w c g) / (W + w): r the reward by the other parts, which the gates g are in, W the sum of their
        weights, w the weight of the consensus c. What nobody reads of a completion, such as comments, agrees with
        nothing. Nor does a completion whose score has a `trouble`: its text is not looked at, and its score stays.
        """
        weight = self.rubric.weights.get(CONSENSUS)
        if not weight:
            return list(scores)
        texts = [
            ComparedText("", (), self.rubric.unit)
            if score.trouble
            else self.rubric.compared(self.rubric.read(completion)[0])
            for completion, score in zip(completions, scores, strict=True)
        ]
        agreements = consensus([text.read for text in texts], self.rubric.agreement, self.rubric.unit)
        agreements = [
            agreement * len(text.read) / max(1, len(text.read) + text.hidden)
            for agreement, text in zip(agreements, texts, strict=True)
        ]
        others = sum(self.weights.values())
        compared = []
        for score, agreement in zip(scores, agreements, strict=True):
            if not score.trouble:
                paid = agreement * math.prod(score.parts.get(gate, 1.0) for gate in self.rubric.gates)
                reward = min(1.0, (others * score.reward + weight * paid) / (others + weight))
                parts = {**score.parts, CONSENSUS: agreement}
                score = replace(score, reward=reward, parts=parts, needs_siblings=False)
            compared.append(score)
        return compared

    def _compared(self, page: PreparedPage) -> Comparison | None:
        if self.reference is None:
            return None
        return Comparison(self.reference, self.rubric.compared(page))

    def _parts(
        self, page: PreparedPage, texts: Comparison | None, verdicts: Sequence[tuple[UnitTest, Verdict]]
    ) -> dict[str, PartValue]:
        found: dict[str, PartValue] = {}
        if texts is not None:
            for name, compare in REFERENCE_PARTS.items():
                part = compare(texts) if name in self.weights or name in ALWAYS_REPORTED else None
                if part is not None:
                    found[name] = part
        if verdicts:
            for name, sum_up in TEST_PARTS.items():
                if name in self.weights or name == "pass_rate":
                    found[name] = sum_up(verdicts)
        if self.scores_front_matter:
            value, reason = front_matter_score(page.front_matter, self.front_matter)
            found["front_matter"] = PartValue(value, "" if value else reason)
        return found

    def _support(self, page: PreparedPage, texts: Comparison | None) -> Coherence:
        """How far a part is supported by the rest: the similarity to the reference, or coherence."""
        if texts is None:
            return coherence(page, self.asked, max((guard.max_repeats for guard in self.guards), default=MAX_REPEATS))
        similarity = support(texts, self.weights)
        return Coherence(similarity, f"the similarity to the reference is {similarity:.3g}")

    def _gates(self, page: PreparedPage, texts: Comparison | None, finished: bool) -> dict[str, tuple[float, str]]:
        """The factor of each of the rubric's gates that applies to the page, with the reason if it is below 1."""
        factors: dict[str, tuple[float, str]] = {}
        for name, factor in self.rubric.gates.items():
            if name == "end":
                factors[name] = (1.0, "") if finished else (factor, "the completion was cut off")
            elif name == "repetition":
                max_repeats = max([MAX_REPEATS, *(guard.max_repeats for guard in self.guards)])
                loops = repetition(page, max_repeats, texts)
                factors[name] = (1.0, "") if loops.passed else (factor, loops.why)
            elif name == "compression":
                loops = compression(page, texts)
                factors[name] = (1.0, "") if loops.passed else (factor, loops.why)
            elif (numbers := number_factor(texts, factor)) is not None:
                factors[name] = numbers
        return factors

    def _verdicts(self, page: PreparedPage) -> tuple[tuple[UnitTest, Verdict], ...]:
        """Each test's verdict. An `absent` test passes only on a page that passes its baseline."""
        guard = PASS
        if not self.rubric.compat and any(test.type == "absent" for test in self.tests):
            guard = next((v for v in (baseline(test, page) for test in self.guards) if not v.passed), PASS)
        verdicts = []
        for test in self.tests:
            verdict = run_test(test, page, self.rubric.compat)
            if test.type == "absent" and verdict.passed and not guard.passed:
                verdict = fail(f"the page fails baseline: {guard.why}")
            verdicts.append((test, verdict))
        return tuple(verdicts)


def _guards(tests: Sequence[UnitTest], reference: str | None) -> tuple[BaselineTest, ...]:
    """The page's own baseline tests, or the default one, which allows every script.

    The default one guards nothing if the reference itself fails it: a form may repeat what looks like a loop.
    """
    own = tuple(test for test in tests if isinstance(test, BaselineTest))
    default = BaselineTest(pdf="", page=1, id="", type="baseline")
    if own or (reference is not None and tests and not baseline(default, PreparedPage(reference)).passed):
        return own
    return (default,)


def load_rubric(name: str | Path) -> Rubric:
    """Loads a ready-made rubric by name, or one from a TOML file by path.

    The file has the fields of `Rubric`, with weights and gates as tables; missing fields have their defaults. Raises
    ValueError, naming the file, if it does not exist, is not valid TOML, or has an unknown key or an invalid value.
    """
    path = RUBRICS / f"{name}.toml"
    if not path.is_file():
        path = Path(name)
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and path.suffix != ".toml":
            names = ", ".join(rubric_names())
            raise ValueError(f'no rubric "{name}"; write one of {names}, or the path of a TOML file') from error
        raise ValueError(f"{path}: {getattr(error, 'strerror', None) or f'not valid TOML: {error}'}") from error
    known = {each.name: each for each in fields(Rubric)}
    for key, value in given.items():
        if key not in known:
            raise ValueError(f'{path}: unknown key "{key}"; {suggestion(key, known)}')
        if not _fits(key, value):
            raise ValueError(f"{path}: {key} is {value!r}; write {_WRITTEN[key]}")
    folder = path.absolute().parent
    if "functions" in given:
        given["functions"] = [str(folder / spec) for spec in given["functions"]]
    if "equivalences" in given:
        given["equivalences"] = read_equivalences(folder / given["equivalences"])
    try:
        return Rubric(**given)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def rubric_names() -> list[str]:
    """The names of the ready-made rubrics."""
    return sorted(path.stem for path in RUBRICS.glob("*.toml"))


_WRITTEN = {
    "weights": "a table of numbers",
    "gates": "a table of numbers",
    "normalization": "a list of names",
    "functions": "a list of FILE.py:NAME",
    "output": "a name",
    "equivalences": "the name of a TSV file",
    "agreement": "a name",
    "unit": "a name",
    "compat": "a name",
    "unsupported": "a number from 0 to 1",
}


def _fits(key: str, value: object) -> bool:
    if key in ("weights", "gates"):
        return isinstance(value, dict) and all(type(number) in (int, float) for number in value.values())
    if key in ("normalization", "functions"):
        return isinstance(value, list) and all(isinstance(name, str) for name in value)
    return type(value) in (int, float) if key == "unsupported" else isinstance(value, str)


def _check_names(what: str, given: Mapping[str, float], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f'unknown {what} "{name}"; {suggestion(name, known)}')

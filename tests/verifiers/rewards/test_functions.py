"""Parts of a reward that are Python functions."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from ocr_verifiers import Rubric, load_rubric
from ocr_verifiers.cli.main import main
from ocr_verifiers.rewards.functions import function_digests

DOCS = Path(__file__).parents[3] / "docs" / "verifiers" / "rewards.md"


@pytest.fixture
def rubric(tmp_path):
    """A rubric of one function, whose body is given."""

    def make(body, weights="similarity = 1"):
        (tmp_path / "mine.py").write_text(f"def score(completion, page):\n    {body}\n")
        (tmp_path / "rubric.toml").write_text(f'functions = ["mine.py:score"]\n[weights]\n{weights}\n[gates]\n')
        return tmp_path / "rubric.toml"

    return make


def test_a_function_is_a_part_with_its_weight(rubric):
    """(1 * 1 + 3 * 1/2) / 4; without a weight it weighs 1."""
    assert load_rubric(rubric("return 0.5", "similarity = 1\nscore = 3")).score("a", reference="a").reward == 2.5 / 4
    scored = load_rubric(rubric("return 0.5")).score("a", reference="a")
    assert scored.reward == 1.5 / 2
    assert scored.parts["score"] == 0.5


def test_it_gets_the_completion_and_the_page(rubric):
    body = "return float((completion, page.reference, page.tests, page.finished) == ('a', 'b', (), False))"
    assert load_rubric(rubric(body)).prepare("b").score("a", finished=False).parts["score"] == 1.0


def test_several_values_are_reported_and_their_mean_counts(rubric):
    scored = load_rubric(rubric("return {'x': 1, 'y': 0.5}", "score = 1")).score("a", reference="a")
    assert scored.reward == 0.75
    assert (scored.parts["score.x"], scored.parts["score.y"]) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 1.5", "returned 1.5 for score; return a number from 0 to 1"),
        ("return None", "returned None for score"),
        ("return float('nan')", "returned nan"),
        ("return {}", "returned no value"),
        ("return completion['x']", "TypeError: string indices must be integers"),
        ("raise ValueError('mine')", "ValueError: mine"),
    ],
)
def test_an_error_of_a_function_stops_the_scoring_with_the_page_and_a_traceback(rubric, tmp_path, body, message):
    path = rubric(body)
    groups = tmp_path / "groups.jsonl"
    groups.write_text('{"id": "p1", "reference": "a", "completions": ["a"]}\n')
    result = CliRunner().invoke(main, ["groups", str(groups), "--rubric", str(path)])
    assert result.exit_code == 2
    assert f"{groups}:1: " in result.output
    assert message in result.output
    if "Error: " in message:
        assert 'mine.py", line 2, in score' in result.output


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mine.py", "write FILE.py:NAME"),
        ("mine.py:exact", "give it another name"),
        ("nothing.py:score", "does not exist"),
        ("mine.py:other", "has no function other"),
    ],
)
def test_a_function_that_is_not_there_is_named(rubric, tmp_path, spec, message):
    rubric("return 1.0")
    with pytest.raises(ValueError, match=message):
        Rubric(functions=(str(tmp_path / spec),)).score("a", reference="a")


def test_the_code_has_a_digest(rubric, tmp_path):
    rubric("return 1.0")
    spec = str(tmp_path / "mine.py:score")
    assert function_digests([spec]) == {spec: hashlib.sha256((tmp_path / "mine.py").read_bytes()).hexdigest()}


def test_the_three_examples_of_the_docs(tmp_path):
    """A date, two of three fields of an invoice, and half of the words."""
    for name, text in re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL):
        (tmp_path / name).write_text(text)
    prepared = load_rubric(tmp_path / "python_rubric.toml").prepare("Dear Sir")
    assert prepared.score("On 1901-05-07").parts["dated"] == 1.0
    assert prepared.score(json.dumps({"number": "7", "total": 1.5})).parts["invoice"] == pytest.approx(2 / 3)
    assert prepared.score("Dear Madam").parts["lexicon"] == 0.5

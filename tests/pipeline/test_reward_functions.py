"""A reward in Python: checked before training, scored in the pool, recorded; an exception keeps what was trained."""

import hashlib
import json
import re

import pytest

from helpers.commands import run
from ocr_rl.config.loader import load_recipe
from ocr_rl.errors import TrainingStoppedError
from ocr_rl.evaluation.evaluate import EvaluateOptions, evaluate
from ocr_rl.pipeline.train import resume, train
from ocr_rl.rewards.reward_function import named_rubric, try_functions
from ocr_rl.types import Page

VOWELS = """
def vowels(completion, page):
    return sum(c in "aeiou" for c in completion) / max(1, len(completion))
"""
SMALL = [
    "render.pages=8",
    "rollout.pages_per_step=2",
    "rollout.group_size=2",
    "rollout.max_tokens=8",
    "train.steps=2",
    "train.checkpoint_every=0",
]


@pytest.fixture
def code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    file.write_text(VOWELS)
    return file


def recipe(*more):
    return load_recipe("grpo", ['reward.functions=["mine.py:vowels"]', *SMALL, *more])


def small_run(tmp_path, *more):
    said = []
    return train(recipe(*more), tmp_path / "run", say=said.append), said


def test_a_function_trains_with_its_weight_and_its_code_is_recorded(code, tmp_path):
    folder, _ = small_run(tmp_path, "reward.weights.vowels=2")
    rows = folder.read_rollouts(2)
    for row in rows:
        assert row["parts"]["vowels"] == sum(c in "aeiou" for c in row["completion"]) / max(1, len(row["completion"]))
    assert "reward/vowels" in json.loads(folder.metrics.read_text().splitlines()[1])
    assert folder.read_eval("after")["pages"][0]["parts"]["vowels"] >= 0
    digest = hashlib.sha256(code.read_bytes()).hexdigest()
    record = json.loads((folder.path / "reward_functions.json").read_text())
    assert record == {str(code) + ":vowels": [{"after_step": 0, "sha256": digest}]}


def test_an_exception_during_training_keeps_the_steps_before_and_the_run_can_be_resumed(code, tmp_path):
    """The function fails in step 2, when it has seen the completions of step 1 in its process."""
    failing = VOWELS.replace("return", "seen.append(1)\n    assert len(seen) < 6, 'too many'\n    return")
    code.write_text("seen = []" + failing)
    with pytest.raises(TrainingStoppedError) as stop:
        small_run(tmp_path, "train.steps=3")
    message = str(stop.value)
    assert "AssertionError: too many" in message
    assert 'mine.py", line 4, in vowels' in message
    assert f"ocr-rl train --resume {tmp_path / 'run'}" in message
    page = message.partition(": ")[0]
    assert page in (tmp_path / "run" / "pages" / "metadata.jsonl").read_text()
    done = len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert (tmp_path / "run" / "checkpoints" / f"step_{done:06d}").is_dir()
    code.write_text(VOWELS)
    said = []
    folder = resume(tmp_path / "run", say=said.append)
    assert len(folder.logged()) == 3
    changed = f"mine.py:vowels has changed since the run began: the rewards after step {done} are those of the new code"
    assert any(line.endswith(changed) for line in said)
    uses = json.loads((folder.path / "reward_functions.json").read_text())[str(code) + ":vowels"]
    assert [use["after_step"] for use in uses] == [0, done]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def vowels(completion, page):\n    return 2", "returned 2 for vowels; return a number from 0 to 1"),
        ("def vowels(completion, page):\n    return 1 / len(completion)", "ZeroDivisionError: division by zero"),
        ("import nothing_here", "ModuleNotFoundError: No module named 'nothing_here'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def vowels(completion):\n    return 1.0", "takes 1 positional argument but 2 were given"),
    ],
)
def test_a_function_that_fails_on_one_of_two_pages_stops_before_anything_is_written(code, tmp_path, body, message):
    code.write_text(body)
    with pytest.raises(ValueError, match=re.escape(message)):
        small_run(tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_function_that_does_not_end_is_named_before_training(code, tmp_path, monkeypatch):
    monkeypatch.setattr("ocr_rl.rewards.reward_function.TIMEOUT_S", 0.5)
    code.write_text("def vowels(completion, page):\n    while True: pass\n")
    (tmp_path / "rubric.toml").write_text('functions = ["mine.py:vowels"]\nweights = { similarity = 1 }\n')
    with pytest.raises(ValueError, match=r"p1: .*mine.py:vowels: took longer than 0.5 s"):
        try_functions(named_rubric(str(tmp_path / "rubric.toml")), [Page("p1", lambda: None, text="a")])


@pytest.fixture
def scans(code, tmp_path):
    from PIL import Image

    (tmp_path / "scans").mkdir()
    Image.new("L", (40, 20), 255).save(tmp_path / "scans" / "p1.png")
    (tmp_path / "scans" / "metadata.jsonl").write_text('{"file_name": "p1.png", "text": "Beſtritt"}\n')
    (tmp_path / "read.jsonl").write_text('{"id": "p1.png", "text": "Bestritt"}\n')
    (tmp_path / "rubric.toml").write_text(
        'functions = ["mine.py:vowels"]\nnormalization = ["long_s"]\nweights = { similarity = 1 }\n'
    )
    return tmp_path


def test_eval_scores_by_a_rubric(scans):
    """Long s is s: no error; two of eight letters are vowels, so the reward is (1 + 1/4) / 2."""
    run("eval", "--predictions", "read.jsonl", "--data", "scans", "--rubric", "rubric.toml", "--json", "e.json")
    found = json.loads((scans / "e.json").read_text())
    assert found["cer"] == 0.0
    assert found["pages"][0]["reward"] == 0.625
    assert found["settings"]["rubric"]["normalization"] == ["long_s"]


def test_rollout_scores_by_a_rubric_and_keeps_it_in_its_settings(scans):
    given = ["rollout", "tiny", "--data", "scans", "--group-size", "2", "--max-tokens", "4", "--out", "g.jsonl"]
    run(*given, "--rubric", "rubric.toml")
    row = json.loads((scans / "g.jsonl").read_text())
    assert [set(parts) >= {"similarity", "vowels"} for parts in row["parts"]] == [True, True]
    code = json.loads((scans / "g.settings.json").read_text())["rubric"]["functions"]
    assert list(code.values()) == [hashlib.sha256((scans / "mine.py").read_bytes()).hexdigest()]


def test_output_formats_that_contradict_each_other_are_refused(tmp_path):
    (tmp_path / "tags.toml").write_text('output = "doctags"\n')
    with pytest.raises(ValueError, match="--output is otsl, and the output of the rubric is doctags"):
        EvaluateOptions(model="tiny", rubric=str(tmp_path / "tags.toml"), output="otsl")


def test_a_function_alone_needs_no_labels():
    from ocr_rl.config.validation import needs_labels

    functions = 'reward.functions=["mine.py:f"]'
    assert needs_labels(load_recipe("grpo", [functions]))
    assert not needs_labels(load_recipe("grpo", [functions, "reward.weights={f = 1}"]))


def test_predictions_in_the_output_of_the_rubric_are_read(scans):
    from ocr_rl.data.loading import load_pages

    (scans / "tags.toml").write_text('output = "doctags"\nnormalization = ["long_s"]\n')
    (scans / "read.jsonl").write_text('{"id": "p1.png", "text": "<doctag><text>Bestritt</text></doctag>"}\n')
    options = EvaluateOptions(predictions=scans / "read.jsonl", rubric=str(scans / "tags.toml"))
    assert evaluate(load_pages(scans / "scans"), options)["cer"] == 0.0

"""Pages with a problem: an error, or on request left out, counted and listed."""

import json
import shutil
from pathlib import Path

import pytest

from helpers.commands import refused, rows_of, run, write_rows

SHORT = ["--max-tokens", "4", "--engine", "transformers"]


@pytest.fixture
def flawed(pages, tmp_path):
    """Six good pages, an empty text, an image that is cut off, an image that is not there, and a page given twice."""
    folder = tmp_path / "flawed"
    shutil.copytree(pages, folder)
    rows = rows_of(folder / "metadata.jsonl")
    image = (folder / rows[0]["file_name"]).read_bytes()
    (folder / "blank.png").write_bytes(image)
    (folder / "cut.png").write_bytes(image[: len(image) // 2])
    bad = [{"file_name": name, "text": text} for name, text in (("blank.png", " "), ("cut.png", "a"), ("no.png", "b"))]
    write_rows(folder / "metadata.jsonl", [*rows, *bad, rows[0]])
    return folder


def lines_of(skipped):
    """Where the problems are: three by the rows' contents, then images that cannot be opened."""
    return sorted(row["line"] for row in rows_of(skipped))


def test_without_a_request_the_first_problem_is_an_error_that_counts_the_others(flawed):
    for command in (["train", "--dry-run"], ["eval", "tiny"], ["rollout", "tiny", "--out", "out.jsonl"]):
        message = refused(*command, "--data", flawed)
        assert message.startswith(f'{flawed}/metadata.jsonl:7: "text" is empty')
        assert "and 2 more; `ocr-rl data check" in message


def test_training_skips_pages_with_a_problem_and_lists_them_in_the_run_folder(flawed):
    small = ["rollout.max_tokens=4", "rollout.group_size=2", "rollout.pages_per_step=2", "train.tensorboard=false"]
    sets = [option for value in (*small, "data.on_error=skip", "data.validation=0.4") for option in ("--set", value)]
    result = run("train", "--data", flawed, "--steps", "1", "--out", "run", *sets)
    assert result.exit_code == 0, result.output
    assert lines_of(Path("run/skipped.jsonl")) == [7, 8, 9, 10]
    assert "left out because of data.on_error: 4, e.g. " in result.stdout
    assert "; see run/skipped.jsonl" in result.stdout
    assert len(json.loads(Path("run/eval/after.json").read_text())["pages"]) >= 1


def test_an_evaluation_skips_them_on_request_and_lists_them_beside_its_result(flawed):
    result = run("eval", "tiny", "--data", flawed, "--on-error", "skip", *SHORT, "--json", "out.json")
    assert result.exit_code == 0, result.output
    assert "left out because of data.on_error: 4, e.g. " in result.stderr
    assert lines_of(Path("out.skipped.jsonl")) == [7, 8, 9, 10]
    scores = json.loads(Path("out.json").read_text())
    assert scores["n"] == 6
    assert scores["settings"]["on_error"] == "skip"


def test_a_rollout_and_pairs_of_it_skip_them_on_request(flawed):
    options = ["--data", flawed, "--on-error", "skip"]
    sampled = run("rollout", "tiny", *options, *SHORT, "--group-size", "2", "--out", "out.jsonl")
    assert sampled.exit_code == 0, sampled.output
    assert lines_of(Path("out.skipped.jsonl")) == [7, 8, 9, 10]
    rows = rows_of(Path("out.jsonl"))
    assert len(rows) == 6
    write_rows(Path("groups.jsonl"), [row | {"completions": ["a", "b"], "rewards": [0.1, 0.9]} for row in rows])
    paired = run("pairs", "groups.jsonl", *options, "--out", "pairs.jsonl")
    assert paired.exit_code == 0, paired.output
    assert lines_of(Path("pairs.skipped.jsonl")) == [7, 8, 9, 10]


def test_a_rollout_is_continued_with_the_same_choice(flawed):
    options = ["--data", flawed, *SHORT, "--group-size", "2", "--out", "out.jsonl"]
    assert run("rollout", "tiny", *options, "--on-error", "skip").exit_code == 0
    repaired = flawed / "metadata.jsonl"
    write_rows(repaired, rows_of(repaired)[:6])
    assert 'was made with on_error = "skip"' in refused("rollout", "tiny", *options)


def test_a_dataset_of_which_nothing_is_left_is_an_error(flawed):
    (flawed / "metadata.jsonl").write_text('{"file_name": "no.png", "text": "a"}\n')
    message = refused("eval", "tiny", "--data", flawed, "--on-error", "skip")
    assert 'metadata.jsonl:1: "file_name" names no.png, which does not exist' in message


def test_pairs_without_a_dataset_have_no_pages_to_skip(flawed):
    write_rows(Path("groups.jsonl"), [])
    message = refused("pairs", "groups.jsonl", "--on-error", "skip", "--out", "pairs.jsonl")
    assert message == "--on-error is about a dataset; add --data"

"""`ocr-rl eval`: predictions and models, scored and compared."""

import json
import shutil
from pathlib import Path

import pytest

from helpers.commands import predictions_of, refused, rows_of, run, write_rows


def test_perfect_predictions_have_no_errors_and_pass_every_test(pages):
    predictions_of(pages)
    result = run("eval", "--predictions", "predictions.jsonl", "--data", pages, "--json", "out.json")
    assert result.exit_code == 0
    scores = json.loads(Path("out.json").read_text())
    for name, value in {"cer": 0, "wer": 0, "exact": 1, "similarity": 1, "pass_rate": 1}.items():
        assert scores[name] == value
        assert scores[f"{name}_ci"] == [value, value]
    assert scores["n"] == len(scores["pages"]) == 6
    assert "pass_rate" in result.stdout


def test_eval_of_a_model_leaves_a_broken_page_out_and_exits_with_1(pages, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(pages, damaged)
    name = rows_of(damaged / "metadata.jsonl")[2]["file_name"]
    (damaged / name).write_bytes(b"no image")
    options = ["--max-tokens", "4", "--samples", "2", "--engine", "transformers", "--json", "out.json"]
    result = run("eval", "tiny", "--data", damaged, *options, "--html", "out.html")
    assert result.exit_code == 1, result.output
    assert f"{name}: left out: " in result.stderr
    assert "Error: 1 page could not be read" in result.stderr
    scores = json.loads(Path("out.json").read_text())
    assert scores["n"] == len(scores["pages"]) == len(scores["sampled"]["pages"]) == 5
    assert [row["id"] for row in scores["unread"]] == [name]
    assert Path("out.html").exists()


def test_half_of_every_page_is_half_of_its_characters(pages):
    """Deleting the second half of each text is a CER of one half, but for odd lengths and the space at the cut."""
    predictions_of(pages, lambda text: text[: len(text) // 2])
    run("eval", "--predictions", "predictions.jsonl", "--data", pages, "--json", "out.json")
    assert json.loads(Path("out.json").read_text())["cer"] == pytest.approx(0.5, abs=0.02)


def test_eval_takes_the_held_out_pages_that_training_holds_out(pages):
    from ocr_rl.data.loading import load_pages
    from ocr_rl.data.splits import SPLIT_SEED, split_pages

    _, held_out = split_pages(load_pages(pages), 0.5, SPLIT_SEED)
    rows = [{"id": page.id, "text": page.text} for page in held_out]
    write_rows(Path("held_out.jsonl"), rows)
    run("eval", "--predictions", "held_out.jsonl", "--data", pages, "--held-out", "0.5", "--json", "out.json")
    assert json.loads(Path("out.json").read_text())["n"] == len(held_out) < 6


def test_shuffled_pages_and_predictions_give_the_same_numbers(pages, tmp_path):
    """Rows of the data and of the predictions in another order: totals, intervals, tables and p-values are equal."""
    shuffled = tmp_path / "shuffled"
    shutil.copytree(pages, shuffled)
    write_rows(shuffled / "metadata.jsonl", rows_of(pages / "metadata.jsonl")[::-1])
    worse = [
        {"file_name": r["file_name"], "text": r["text"][i:]} for i, r in enumerate(rows_of(pages / "metadata.jsonl"))
    ]
    write_rows(Path("other.jsonl"), worse)
    write_rows(Path("this.jsonl"), [row | {"text": row["text"][::2]} for row in worse])
    write_rows(Path("that.jsonl"), [row | {"text": row["text"][::2]} for row in worse[3:] + worse[:3]])
    found = []
    for data, predictions in ((pages, "this.jsonl"), (shuffled, "that.jsonl")):
        options = ["--data", data, "--against", "other.jsonl", "--json", "out.json"]
        assert run("eval", "--predictions", predictions, *options).exit_code == 0
        found.append(json.loads(Path("out.json").read_text()))
        del found[-1]["pages"], found[-1]["settings"]
    assert found[0] == found[1]


def test_an_evaluation_can_be_compared_with_an_earlier_one_and_says_how_it_was_made(pages):
    predictions_of(pages, lambda text: text[: len(text) // 2])
    run("eval", "--predictions", "predictions.jsonl", "--data", pages, "--json", "half.json")
    predictions_of(pages)
    result = run(
        "eval", "--predictions", "predictions.jsonl", "--data", pages, "--against", "half.json", "--json", "out.json"
    )
    assert result.exit_code == 0
    assert "against half.json, on 6 shared pages of 6 documents" in result.stdout
    found = json.loads(Path("out.json").read_text())
    assert found["against"]["metrics"]["cer"]["difference"] == -json.loads(Path("half.json").read_text())["cer"]
    assert found["against"]["metrics"]["exact"]["difference"] == 1
    assert len(found["against"]["pages"]) == 6
    assert found["settings"]["predictions"] == "predictions.jsonl"
    assert found["settings"]["data"] == str(pages)
    assert found["settings"]["seed"] == 0


def test_an_evaluation_can_be_scored_again_as_predictions(pages):
    predictions_of(pages, lambda text: text[::2])
    run("eval", "--predictions", "predictions.jsonl", "--data", pages, "--json", "first.json")
    run("eval", "--predictions", "first.json", "--data", pages, "--json", "second.json")
    first, second = (json.loads(Path(name).read_text()) for name in ("first.json", "second.json"))
    assert first.pop("settings") != second.pop("settings")
    assert first == second


def test_a_model_is_evaluated_greedily_and_by_samples_and_against_itself(pages):
    options = ["--data", pages, "--limit", "2", "--max-tokens", "6", "--samples", "3", "--temperature", "0.5"]
    result = run("eval", "tiny", *options, "--against", "tiny", "--json", "out.json")
    assert result.exit_code == 0, result.output
    found = json.loads(Path("out.json").read_text())
    assert found["truncated"] == 1
    assert (found["sampled"]["samples"], found["sampled"]["temperature"]) == (3, 0.5)
    assert [len(own) for own in found["sampled"]["pages"].values()] == [3, 3]
    assert found["sampled"]["best"]["reward"] >= found["sampled"]["mean"]["reward"]
    assert "mean of 3" in result.stdout
    assert "best of 3" in result.stdout
    assert found["against"]["metrics"]["cer"]["difference"] == 0
    assert found["against"]["metrics"]["cer"]["p"] == 1
    assert found["against"]["pages"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--predictions", "predictions.jsonl", "--samples", "2"],
            "--samples draws from a MODEL; a file of predictions has none",
        ),
        (["tiny", "--temperature", "1"], "--temperature is that of --samples N; without samples decoding is greedy"),
        (
            ["tiny", "--samples", "2", "--temperature", "0"],
            "Invalid value for '--temperature': 0.0 is not in the range",
        ),
        (["tiny", "--against", "before.json"], "--against before.json: no such file"),
        (
            ["tiny", "--against", "nothing"],
            'no folder "nothing"; a model is a folder, a hub id (owner/name), "tiny" or "tiny-scans"',
        ),
        (
            ["--predictions", "predictions.jsonl", "--against", "one.jsonl"],
            "one.jsonl: transcribes none of the pages",
        ),
        (
            ["--predictions", "predictions.jsonl", "--against", "bad.json"],
            "bad.json: not an evaluation as `ocr-rl eval --json` writes it; the name of a file of rows {id, text}, one "
            "per line, must end in .jsonl",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_in_samples_or_in_what_to_compare_with_is_an_error(pages, arguments, message):
    predictions_of(pages)
    write_rows(Path("one.jsonl"), [{"id": "elsewhere.png", "text": ""}])
    Path("bad.json").write_text("{}")
    assert refused("eval", *arguments, "--data", pages).startswith(message)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"file_name": "images/rendered_00000.png"},
            'predictions.jsonl:1: "text" is None; write the transcription as a string',
        ),
        (
            {"file_name": "x.png", "text": "a"},
            "predictions.jsonl:1: no page 'x.png' in the data; write an id or file_name that it has",
        ),
        ([], "predictions.jsonl:1: [] is not an object; write one {...} per line"),
    ],
    ids=["no text", "no such page", "no object"],
)
def test_a_prediction_that_cannot_be_scored_has_an_address(pages, row, message):
    write_rows(Path("predictions.jsonl"), [row])
    assert refused("eval", "--predictions", "predictions.jsonl", "--data", pages) == message


def test_two_predictions_of_one_page_are_an_error(pages):
    row = {"file_name": "images/rendered_00000.png", "text": "a"}
    write_rows(Path("predictions.jsonl"), [row, row])
    assert refused("eval", "--predictions", "predictions.jsonl", "--data", pages) == (
        "predictions.jsonl:2: 'images/rendered_00000.png' is transcribed by an earlier row; write one row per page"
    )


def test_an_empty_file_of_predictions_is_an_error(pages):
    write_rows(Path("predictions.jsonl"), [])
    message = refused("eval", "--predictions", "predictions.jsonl", "--data", pages)
    assert message == "predictions.jsonl: holds no transcriptions"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "scans"], "give either a MODEL or --predictions FILE"),
        (["tiny"], "Missing option '--data'."),
        (["tiny", "--data", "scans"], "scans: no such file or folder"),
        (["tiny", "--data", "scans", "--predictions", "x.jsonl"], "Invalid value for '--predictions': "),
        (["tiny", "--data", "scans", "--held-out", "2"], "Invalid value for '--held-out': 2.0 is not in the range"),
        (["tiny", "--data", "scans", "--limit", "0"], "Invalid value for '--limit': 0 is not in the range"),
        (
            ["tiny", "--data", "scans", "--json", "no/out.json"],
            "Invalid value for '--json': the folder no does not exist",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_in_what_to_evaluate_is_an_error(arguments, message):
    assert refused("eval", *arguments).startswith(message)


def test_a_model_that_does_not_exist_is_an_error_before_the_hub_is_asked(pages):
    message = 'no folder "nothing"; a model is a folder, a hub id (owner/name), "tiny" or "tiny-scans"'
    assert refused("eval", "nothing", "--data", pages) == message
    assert refused("transcribe", pages / "images", "--model", "nothing") == message

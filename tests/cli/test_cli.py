"""The command line: what loads torch, and what a user is told. A mistake is one message and exit code 2."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ocr_rl import __version__
from ocr_rl.cli.main import main
from ocr_rl.config.loader import recipe_names


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Commands run in an empty folder and never ask the hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments):
    """The one error message of a command that a user can mend."""
    result = run(*arguments)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.count("Error: ") == 1
    return result.stderr.partition("Error: ")[2].strip()


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def predictions_of(pages, change=lambda text: text):
    rows = rows_of(pages / "metadata.jsonl")
    return write_rows(
        Path("predictions.jsonl"), [{"file_name": r["file_name"], "text": change(r["text"])} for r in rows]
    )


# --- what is loaded


def test_help_and_version_load_no_torch_and_no_numpy():
    code = """
import sys
from ocr_rl.cli.main import main
try:
    main(["--help"])
except SystemExit:
    print([m for m in ("torch", "numpy", "PIL", "rapidfuzz", "transformers", "datasets") if m in sys.modules])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith("Usage: ")
    assert told.endswith("[]\n")


def test_scoring_predictions_checking_data_and_rendering_load_no_torch(pages):
    predictions_of(pages)
    commands = [
        ["eval", "--predictions", "predictions.jsonl", "--data", str(pages), "--against", "predictions.jsonl"],
        ["data", "check", str(pages)],
        ["render", "more", "--pages", "1"],
    ]
    code = f"""
import sys
from ocr_rl.cli.main import main
for command in {commands!r}:
    main(command, standalone_mode=False)
print([m for m in ("torch", "transformers") if m in sys.modules])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.endswith("[]\n")


@pytest.mark.parametrize("command", ["train", "eval", "rollout", "transcribe", "render", "data check"])
def test_every_command_explains_itself_with_examples(command):
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"ocr-rl {command} " in result.stdout.partition("Options:")[0].partition("\n\n")[2]


def test_the_version_is_that_of_the_package():
    assert run("--version").stdout == f"ocr-rl, version {__version__}\n"


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [("torch", ["train"], "train"), ("PIL", ["render", "pages"], "data"), ("matplotlib", ["render", "pages"], "data")],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(module, command, extra):
    """None in sys.modules makes the import fail as if the module were not installed; matplotlib is looked up."""
    code = f"""
import importlib.util, sys
sys.modules[{module!r}] = None
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == {module!r} else find_spec(name, package)
from ocr_rl.cli.main import main
main({command!r})
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.returncode == 2
    assert told.stderr == f"Error: this command needs {module}: pip install 'ocr-rl[{extra}]'\n"


# --- train: recipes and overrides


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["nope"],
            f'no recipe "nope"; write one of {", ".join(recipe_names())}, or the path of a TOML file',
        ),
        (
            ["--set", "train.steps"],
            "--set train.steps: no '='; write --set section.key=value, e.g. --set train.steps=100",
        ),
        (["--set", "trian.steps=1"], '--set trian.steps=1: "trian" is no section; did you mean "train"?'),
        (["--set", "train.step=1"], '--set train.step=1: "step" is no key of [train]; did you mean "steps"?'),
        (["--set", "model=tiny"], "--set model=tiny: model is a section; write --set model.key=value"),
        (
            ["--set", "train.steps.x=1"],
            "--set train.steps.x=1: train.steps has no entries; write --set train.steps=value",
        ),
        (
            ["--set", "train.steps=many"],
            "--set train.steps=many: train.steps is 'many'; write a value of type integer",
        ),
        (
            ["--set", "train.learning_rate=fast"],
            "--set train.learning_rate=fast: train.learning_rate is 'fast'; write a value of type number",
        ),
        (["--set", "train.betas=3"], "--set train.betas=3: train.betas is 3; write a list, e.g. [1, 2]"),
        (
            ["--set", "grpo.normalizer=mean"],
            "--set grpo.normalizer=mean: grpo.normalizer is 'mean'; write one of 'token', 'sequence', 'constant'",
        ),
        (
            ["--set", "rollout.group_size=1"],
            "rollout.group_size is 1; write at least 2: a group of one has no advantage",
        ),
        (["--set", "data.validation=1"], "data.validation is 1.0; write a share between 0 and 1"),
        (["--set", "render.pages=1"], "render.pages is 1; write at least 2: one is held out"),
        (["--where", "level"], 'filter "level": write key=value, or key=value,value for any of them'),
        (["--column", "text"], "--column text: write ROLE=NAME, e.g. --column text=truth"),
        (["--model", "nothing"], 'no folder "nothing"; a model is a folder, a hub id (owner/name), or "tiny"'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_in_what_to_train_is_told_before_anything_is_written(arguments, message):
    assert refused("train", *arguments, "--out", "run") == message
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = ", "my.toml: not valid TOML: "),
        ("[train]\nstep = 3\n", 'my.toml: "step" is no key of [train]; did you mean "steps"?'),
        ("[trian]\n", 'my.toml: "trian" is no section; did you mean "train"?'),
        ("train = 3\n", "my.toml: train is 3; write a section [train]"),
        ('[train]\nsteps = "3"\n', "my.toml: train.steps is '3'; write a value of type integer"),
        ('algorithm = "trpo"\n', "my.toml: algorithm is 'trpo'; write one of 'grpo'"),
    ],
)
def test_a_mistake_in_a_recipe_file_names_the_file(text, message):
    Path("my.toml").write_text(text)
    assert refused("train", "my.toml", "--out", "run").startswith(message)


# --- train: data and run folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--where", "level=line"], 'no page has "level" = line; there is page (6)'),
        (["--where", "colour=red"], 'no page has "colour" to filter by; there is doc, level, source'),
        (["--column", "words=text"], 'columns: "words" is none of image, text, id, prompt, tests'),
        (["--set", "reward.weights.similarty=1"], 'unknown quality part "similarty"; did you mean "similarity"?'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_about_the_data_leaves_no_run_folder(pages, arguments, message):
    assert refused("train", "--data", pages, "--out", "run", *arguments) == message
    assert not Path("run").exists()


def test_data_that_is_not_there_is_told_and_leaves_no_run_folder():
    assert refused("train", "--data", "scans", "--out", "run") == "scans: no such file or folder"
    assert not Path("run").exists()


def test_a_page_without_reference_and_tests_is_an_error_with_its_line(pages):
    rows = rows_of(pages / "metadata.jsonl")
    for row in rows:
        row["file_name"] = str(pages / row["file_name"])
    del rows[2]["text"]
    write_rows(Path("metadata.jsonl"), rows)
    told = refused("train", "--data", "metadata.jsonl", "--out", "run")
    assert told == f"metadata.jsonl:3: the page {rows[2]['file_name']} has neither a text nor tests"
    assert not Path("run").exists()


def test_a_page_that_the_reward_cannot_score_is_named(pages):
    """`exact` and `similarity` need a reference; the page has tests alone."""
    Path("only-tests").mkdir()
    for n in range(2):
        shutil.copy(pages / f"images/rendered_{n:05d}.png", f"only-tests/{n}.png")
    write_rows(Path("only-tests/metadata.jsonl"), [{"file_name": f"{n}.png"} for n in range(2)])
    test = {"page": 1, "type": "present", "text": "a"}
    write_rows(Path("only-tests/tests.jsonl"), [test | {"pdf": f"{n}.png", "id": str(n)} for n in range(2)])
    told = refused("train", "--data", "only-tests", "--out", "run", "--set", "reward.weights={ similarity = 1.0 }")
    assert told.endswith(
        ".png: the page cannot be scored: it has no reference and 1 scored tests, and the rubric weighs similarity"
    )


def test_a_folder_that_holds_no_model_is_told_with_what_to_give(pages):
    Path("model").mkdir()
    told = refused("train", "--data", pages, "--out", "run", "--model", "model")
    assert told.startswith('model.path "model": ')
    assert told.endswith('or "tiny"')
    assert not Path("run").exists()


def test_wandb_is_missed_before_the_run_begins(pages, monkeypatch):
    monkeypatch.setattr("ocr_rl.pipeline.job.find_spec", lambda name: None)
    told = refused("train", "--data", pages, "--out", "run", "--set", "train.wandb=true")
    assert told == "train.wandb is true, but wandb is not installed: pip install wandb"


def test_a_run_is_not_overwritten_unasked():
    Path("run").mkdir()
    Path("run/resolved.toml").write_text("")
    told = refused("train", "--data", "scans", "--out", "run")
    assert told == "run holds a run already; give another --out, or --overwrite to replace a run"


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_folder_of_other_files_is_never_overwritten(overwrite):
    Path("run").mkdir()
    Path("run/thesis.tex").write_text("")
    told = refused("train", "--data", "scans", "--out", "run", *overwrite)
    assert told == "run holds files already; give another --out, or --overwrite to replace a run"
    assert Path("run/thesis.tex").exists()


def test_a_mistake_leaves_the_run_that_was_to_be_replaced():
    Path("run").mkdir()
    for name in ("resolved.toml", "metrics.jsonl"):
        Path("run", name).write_text(name)
    assert refused("train", "--data", "scans", "--out", "run", "--overwrite") == "scans: no such file or folder"
    assert {file.name: file.read_text() for file in Path().rglob("*.*")} == {
        "resolved.toml": "resolved.toml",
        "metrics.jsonl": "metrics.jsonl",
    }


# --- eval


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
    told = run(
        "eval", "--predictions", "predictions.jsonl", "--data", pages, "--against", "half.json", "--json", "out.json"
    )
    assert told.exit_code == 0
    assert "against half.json, on 6 shared pages of 6 documents" in told.stdout
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
    told = run("eval", "tiny", *options, "--against", "tiny", "--json", "out.json")
    assert told.exit_code == 0, told.output
    found = json.loads(Path("out.json").read_text())
    assert found["truncated"] == 1
    assert (found["sampled"]["samples"], found["sampled"]["temperature"]) == (3, 0.5)
    assert [len(own) for own in found["sampled"]["pages"].values()] == [3, 3]
    assert found["sampled"]["best"]["reward"] >= found["sampled"]["mean"]["reward"]
    assert "mean of 3" in told.stdout
    assert "best of 3" in told.stdout
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
        (["tiny", "--temperature", "1"], "--temperature is that of --samples N; without them decoding is greedy"),
        (
            ["tiny", "--samples", "2", "--temperature", "0"],
            "Invalid value for '--temperature': 0.0 is not in the range",
        ),
        (["tiny", "--against", "before.json"], "--against before.json: no such file"),
        (
            ["tiny", "--against", "nothing"],
            'no folder "nothing"; a model is a folder, a hub id (owner/name), or "tiny"',
        ),
        (
            ["--predictions", "predictions.jsonl", "--against", "one.jsonl"],
            "one.jsonl: transcribes none of the pages",
        ),
        (
            ["--predictions", "predictions.jsonl", "--against", "bad.json"],
            "bad.json: no evaluation, which `ocr-rl eval --json` writes; a file of rows {id, text}, one per line, "
            "ends in .jsonl",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_in_samples_or_in_what_to_compare_with_is_told(pages, arguments, message):
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
    told = refused("eval", "--predictions", "predictions.jsonl", "--data", pages)
    assert told == "predictions.jsonl: holds no transcriptions"


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
def test_a_mistake_in_what_to_evaluate_is_told(arguments, message):
    assert refused("eval", *arguments).startswith(message)


def test_a_model_that_is_nothing_is_told_before_the_hub_is_asked(pages):
    message = 'no folder "nothing"; a model is a folder, a hub id (owner/name), or "tiny"'
    assert refused("eval", "nothing", "--data", pages) == message
    assert refused("transcribe", pages / "images", "--model", "nothing") == message


# --- transcribe


def test_there_must_be_something_to_transcribe():
    Path("notes.txt").write_text("")
    Path("empty").mkdir()
    assert refused("transcribe", "scan.png") == "Invalid value for 'SOURCE': Path 'scan.png' does not exist."
    for source in ("notes.txt", "empty"):
        assert refused("transcribe", source).startswith(f"{source}: no image or PDF here; files are known by ")


# --- render


def test_rendered_pages_come_in_the_layout_that_data_check_reads():
    told = run("render", "pages", "--pages", "4", "--layout", "lines", "--layout", "table", "--headers", "1")
    assert told.stdout == "4 pages in pages\n"
    checked = run("data", "check", "pages", "--json", "report.json")
    assert checked.exit_code == 0
    assert checked.stdout.endswith("0 errors, 0 warnings\n")
    assert json.loads(Path("report.json").read_text())["pages"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--style", "baroque"], '--style is "baroque"; write one of clean, print, scan, carbon'),
        (["--lines", "6", "3"], "lines from 6 to 3; write the least, 1 or more, and then the most"),
        (["--characters", "0", "9"], "characters from 0 to 9; write the least, 1 or more, and then the most"),
        (["--layout", "spiral"], "Invalid value for '--layout': 'spiral' is not one of "),
        (["--pages", "0"], "Invalid value for '--pages': 0 is not in the range"),
        (["--headers", "2"], "Invalid value for '--headers': 2.0 is not in the range"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_in_what_to_render_writes_nothing(arguments, message):
    assert refused("render", "pages", *arguments).startswith(message)
    assert not Path("pages").exists()


def test_a_dataset_is_not_rendered_over(pages):
    assert refused("render", pages) == f"{pages} holds a dataset already; give another folder"


def test_a_file_is_no_folder_to_render_into():
    Path("notes.txt").write_text("")
    assert refused("render", "notes.txt") == "notes.txt/images: Not a directory"


# --- data check


def test_data_check_reports_all_problems_on_stdout_and_exits_with_2(pages):
    rows = rows_of(pages / "metadata.jsonl")
    for row in rows:
        row["file_name"] = str(pages / row["file_name"])
    rows[0]["file_name"] = "gone.png"
    rows[4]["text"] = 5
    write_rows(Path("metadata.jsonl"), rows)
    result = run("data", "check", "metadata.jsonl", "--json", "report.json")
    assert result.exit_code == 2
    problems = [
        'metadata.jsonl:1: "file_name" names gone.png, which does not exist; paths are relative to the JSONL file',
        'metadata.jsonl:5: "text" is 5, not a string',
    ]
    assert json.loads(Path("report.json").read_text())["problems"] == problems
    assert [line for line in result.stdout.splitlines() if line.startswith("error")] == [
        f"error: {p}" for p in problems
    ]


def test_data_check_looks_at_the_pages_asked_for(pages):
    result = run("data", "check", pages, "--where", "doc=rendered_00000,rendered_00003", "--validation", "0.5")
    assert result.stdout.startswith(f"{pages}: 2 pages of 2 documents")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scans"], "scans: no such file or folder"),
        (["notes.txt"], "notes.txt: a dataset is a folder, a .jsonl file or a .parquet file"),
        (["empty"], "empty: no pages here: no metadata.jsonl, "),
        (["scans", "--where", "level"], 'filter "level": write key=value, '),
        (["scans", "--validation", "1"], "Invalid value for '--validation': 1.0 is not in the range"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_no_dataset_is_told(arguments, message):
    Path("notes.txt").write_text("")
    Path("empty").mkdir()
    assert refused("data", "check", *arguments).startswith(message)

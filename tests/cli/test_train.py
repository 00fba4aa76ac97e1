"""`ocr-rl train`: a mistake is one message and exit code 2, and leaves no run folder."""

import shutil
from pathlib import Path

import pytest

from helpers.commands import refused, rows_of, run, write_rows
from helpers.families import save
from ocr_rl.config.chains import chain_names
from ocr_rl.config.loader import recipe_names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["nope"],
            f'no recipe "nope"; write one of {", ".join(recipe_names())}, a chain ({", ".join(chain_names())}), or the '
            "path of a TOML file",
        ),
        (
            ["--set", "train.steps"],
            "--set train.steps: no '='; write --set section.key=value, e.g. --set train.steps=100",
        ),
        (["--set", "trian.steps=1"], '--set trian.steps=1: "trian" is not a section; did you mean "train"?'),
        (["--set", "train.step=1"], '--set train.step=1: "step" is not a key of [train]; did you mean "steps"?'),
        (
            ["--set", "model=tiny"],
            "--set model=tiny: model is a section; write its keys in [model], or --set model.key=value",
        ),
        (
            ["--set", "train.steps.x=1"],
            "--set train.steps.x=1: train.steps has no entries; write --set train.steps=value",
        ),
        (
            ["--set", "train.steps=many"],
            "--set train.steps=many: train.steps is 'many'; write an integer of at least 0",
        ),
        (
            ["--set", "train.learning_rate=fast"],
            "--set train.learning_rate=fast: train.learning_rate is 'fast'; write a number of at least 0",
        ),
        (
            ["--set", "train.betas=3"],
            "--set train.betas=3: train.betas is 3; write a list of 2 values, each a number of at least 0 and below 1",
        ),
        (
            ["--set", "grpo.normalizer=mean"],
            "--set grpo.normalizer=mean: grpo.normalizer is 'mean'; write one of 'token', 'sequence', 'constant'",
        ),
        (
            ["--set", "rollout.group_size=1"],
            "rollout.group_size is 1; write at least 2: a group of one has no advantage",
        ),
        (
            ["--set", "model.quantize=nf4"],
            'model.quantize is \'nf4\'; write "", or rollout.engine = "transformers": vLLM does not take 4-bit weights '
            "from the trainer",
        ),
        (
            ["--set", "data.validation=1"],
            "--set data.validation=1: data.validation is 1; write a number above 0 and below 1",
        ),
        (
            ["--seed", "99999999999999"],
            "--set train.seed=99999999999999: train.seed is 99999999999999; write an integer from 0 to 4294967295",
        ),
        (["--where", "level"], 'filter "level": write key=value, or key=value,value for any of them'),
        (["--column", "text"], "--column text: write ROLE=NAME, e.g. --column text=truth"),
        (
            ["--model", "nothing"],
            'no folder "nothing"; a model is a folder, a hub id (owner/name), "tiny" or "tiny-scans"',
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_in_what_to_train_is_reported_before_anything_is_written(arguments, message):
    assert refused("train", *arguments, "--out", "run") == message
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = ", "my.toml: not valid TOML: "),
        ("[train]\nstep = 3\n", 'my.toml: "step" is not a key of [train]; did you mean "steps"?'),
        ("[trian]\n", 'my.toml: "trian" is not a section; did you mean "train"?'),
        ("train = 3\n", "my.toml: train is a section; write its keys in [train], or --set train.key=value"),
        ('[train]\nsteps = "3"\n', "my.toml: train.steps is '3'; write an integer of at least 0"),
        ('algorithm = "trpo"\n', "my.toml: algorithm is 'trpo'; write one of 'grpo'"),
    ],
)
def test_a_mistake_in_a_recipe_file_names_the_file(text, message):
    Path("my.toml").write_text(text)
    assert refused("train", "my.toml", "--out", "run").startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--where", "level=line"], 'no page has "level" = line; there is page (6)'),
        (["--where", "colour=red"], 'no page has "colour" to filter by; there is doc, level, source'),
        (["--column", "words=text"], 'columns: "words" is not one of image, text, id, prompt, tests, messages'),
        (
            ["--set", "reward.weights.similarty=1"],
            '[reward]: unknown quality part "similarty"; did you mean "similarity"?',
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_about_the_data_leaves_no_run_folder(pages, arguments, message):
    assert refused("train", "--data", pages, "--out", "run", *arguments) == message
    assert not Path("run").exists()


def test_data_that_does_not_exist_leaves_no_run_folder():
    assert refused("train", "--data", "scans", "--out", "run") == "scans: no such file or folder"
    assert not Path("run").exists()


def test_a_page_without_reference_and_tests_is_an_error_with_its_line(pages):
    rows = rows_of(pages / "metadata.jsonl")
    for row in rows:
        row["file_name"] = str(pages / row["file_name"])
    del rows[2]["text"]
    write_rows(Path("metadata.jsonl"), rows)
    message = refused("train", "--data", "metadata.jsonl", "--out", "run")
    lacks = "has neither a text nor tests; reward.weights.consensus needs neither"
    assert message == f"metadata.jsonl:3: the page {rows[2]['file_name']} {lacks}"
    assert not Path("run").exists()


def test_a_page_that_the_reward_cannot_score_is_named(pages):
    """`exact` and `similarity` need a reference; the page has tests alone."""
    Path("only-tests").mkdir()
    for n in range(2):
        shutil.copy(pages / f"images/rendered_{n:05d}.png", f"only-tests/{n}.png")
    write_rows(Path("only-tests/metadata.jsonl"), [{"file_name": f"{n}.png"} for n in range(2)])
    test = {"page": 1, "type": "present", "text": "a"}
    write_rows(Path("only-tests/tests.jsonl"), [test | {"pdf": f"{n}.png", "id": str(n)} for n in range(2)])
    message = refused("train", "--data", "only-tests", "--out", "run", "--set", "reward.weights={ similarity = 1.0 }")
    assert message.endswith(
        ".png: the page cannot be scored: it has no reference and 1 scored tests, and the rubric weighs similarity"
    )


def test_a_folder_that_holds_no_model_is_named_with_what_to_give(pages):
    Path("model").mkdir()
    message = refused("train", "--data", pages, "--out", "run", "--model", "model")
    assert message.startswith('model.path "model": ')
    assert message.endswith('"tiny" or "tiny-scans"')
    assert not Path("run").exists()


def test_missing_wandb_is_an_error_before_the_run_begins(pages, monkeypatch):
    monkeypatch.setattr("ocr_rl.pipeline.job.find_spec", lambda name: None)
    message = refused("train", "--data", pages, "--out", "run", "--set", "train.wandb=true")
    assert message == "train.wandb is true, but wandb is not installed: pip install wandb"


def test_missing_bitsandbytes_is_an_error_before_the_run_begins(pages, monkeypatch):
    monkeypatch.setattr("ocr_rl.models.checkpoints.options.find_spec", lambda name: None)
    message = refused("train", "--data", pages, "--out", "run", "--set", "train.optimizer=adamw_8bit")
    assert message == 'train.optimizer is "adamw_8bit", but bitsandbytes is not installed: pip install bitsandbytes'
    assert not Path("run").exists()


def test_a_run_is_not_overwritten_unasked():
    Path("run").mkdir()
    Path("run/resolved.toml").write_text("")
    message = refused("train", "--data", "scans", "--out", "run")
    assert message == "run holds a run already; give another --out, or --overwrite to replace a run"


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_folder_of_other_files_is_never_overwritten(overwrite):
    Path("run").mkdir()
    Path("run/thesis.tex").write_text("")
    message = refused("train", "--data", "scans", "--out", "run", *overwrite)
    assert message == "run holds files already; give another --out, or --overwrite to replace a run"
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


def test_the_7b_recipe_trains_a_small_qwen_that_has_its_real_processor(pages):
    """No torchvision: a stand-in takes the place of the processor's part for videos."""
    save("qwen2_5_vl", Path("qwen"))
    small = {
        "train.steps": 1,
        "train.tensorboard": False,
        "rollout.pages_per_step": 2,
        "rollout.group_size": 2,
        "rollout.max_tokens": 8,
        "model.max_pixels": 8000,
        "model.lora_rank": 4,
    }
    settings = [argument for key, value in small.items() for argument in ("--set", f"{key}={value}".lower())]
    result = run("train", "grpo-7b-lora", "--model", "qwen", "--data", pages, "--out", "run", *settings)
    assert result.exit_code == 0, result.output
    assert [row["step"] for row in rows_of(Path("run/metrics.jsonl"))] == [1]
    saved = Path("run/checkpoints/step_000001")
    assert (saved / "adapter_model.safetensors").is_file()
    assert "Qwen2_5_VLProcessor" in (saved / "processor_config.json").read_text()

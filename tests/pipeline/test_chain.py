"""A chain of recipes end to end: stages, interruption, and what the second one starts from."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from helpers.commands import refused, rows_of, run
from helpers.runs import SETTINGS, ocr_rl
from helpers.tiny_models import make_page, make_policy

SHORT = SETTINGS | {"train.steps": 2, "train.eval_every": 0, "train.checkpoint_every": 1}
OPTIONS = [word for key, value in SHORT.items() for word in ("--set", f"{key}={json.dumps(value)}")]
STAGES = ("1-sft", "2-unlabelled")
COMMAND = ["train", "few-labels", "--data", "scans", "--model", "policy", "--out", "chain", *OPTIONS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixteen pages, of which every second has a text, and a policy."""
    folder = tmp_path_factory.mktemp("chain")
    make_policy().save(folder / "policy")
    (folder / "scans").mkdir()
    rows = []
    for i in range(16):
        make_page(i).image.save(folder / "scans" / f"{i}.png")
        rows.append({"file_name": f"{i}.png"} | ({"text": "ab"} if i % 2 else {}))
    (folder / "scans" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def place(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("policy", "scans"):
        Path(name).symlink_to(folder / name)


def weights(checkpoint):
    return load_file(checkpoint / "model.safetensors")


def test_each_stage_is_a_run_that_continues_with_the_policy_before(place):
    result = run(*COMMAND)
    assert result.exit_code == 0, result.output
    chain = Path("chain")
    assert sorted(path.name for path in chain.iterdir()) == ["1-sft", "2-unlabelled", "chain.toml"]
    assert all((chain / stage / "report.html").is_file() for stage in ("1-sft", "2-unlabelled"))
    last = chain / "1-sft" / "checkpoints" / "step_000002"
    assert f'path = "{last}"' in (chain / "2-unlabelled" / "resolved.toml").read_text()
    before, after = (
        json.loads((chain / name).read_text()) for name in ("2-unlabelled/eval/before.json", "1-sft/eval/after.json")
    )
    assert before["pages"]
    assert [row["text"] for row in before["pages"]] == [row["text"] for row in after["pages"]]
    assert all(row["reference"] == "ab" for row in after["pages"])
    trained = {row["page"] for row in rows_of(chain / "2-unlabelled" / "rollouts" / "step_000001.jsonl")}
    assert all(int(page.removesuffix(".png")) % 2 == 0 for page in trained)


def test_a_chain_killed_in_either_stage_is_resumed_and_ends_the_same(place):
    assert run(*COMMAND).exit_code == 0
    whole = [weights(Path("chain") / stage / "checkpoints" / "step_000002") for stage in ("1-sft", "2-unlabelled")]
    for stage, last in (("1-sft", "metrics.jsonl"), ("2-unlabelled", "eval/after.json")):
        out = Path.cwd() / f"killed-{stage}"
        command = [*COMMAND[: -len(OPTIONS) - 1], str(out), *OPTIONS]
        killed = ocr_rl(*command, run=str(out / stage), kill=lambda touch, path, last=last: path.startswith(last))
        assert killed.status != 0
        result = run("train", "--resume", out)
        assert result.exit_code == 0, result.output
        for name, expected in zip(("1-sft", "2-unlabelled"), whole, strict=True):
            found = weights(out / name / "checkpoints" / "step_000002")
            assert all((found[key] == value).all() for key, value in expected.items())


def test_stages_share_a_budget_and_one_ends_when_its_evaluations_are_flat(place):
    """SFT at rate 0 learns nothing, so its second evaluation ends it; six pages are then left for the second stage.

    No step is better than the start, which is handed over.
    """
    own = ["stages.1.train.steps=9", "stages.1.train.patience=2", "stages.1.train.eval_every=1"]
    own += ["stages.1.train.learning_rate=0.0", "stages.2.train.steps=0", "budget.pages=10"]
    own += ["stages.1.train.keep_best=cer"]
    result = run(*COMMAND, *[word for setting in own for word in ("--set", setting)])
    assert result.exit_code == 0, result.output
    assert "step 2: the last 2 evaluations were not better: training ends" in result.output
    assert "no step was better than the start by cer" in result.output
    start = Path("chain") / "1-sft" / "checkpoints" / "step_000000"
    assert f'path = "{start}"' in (Path("chain") / "2-unlabelled" / "resolved.toml").read_text()
    pages = [[row["pages"] for row in rows_of(Path("chain") / name / "metrics.jsonl")] for name in STAGES]
    assert pages == [[2, 2], [2, 2, 2]]
    assert "is finished" in run("train", "--resume", "chain").output


def test_a_finished_chain_is_left_alone_and_replaced_on_request(place):
    assert run(*COMMAND).exit_code == 0
    assert "is finished" in run("train", "--resume", "chain").output
    assert refused(*COMMAND).startswith("chain holds a chain already; give another --out, or --overwrite")
    assert run(*COMMAND, "--overwrite").exit_code == 0


def test_a_mistake_leaves_no_folder_or_the_one_that_was_there(place):
    wrong = [word if word != "scans" else "nowhere" for word in COMMAND]
    for expected in (False, True):
        result = run(*wrong, "--overwrite")
        assert result.exit_code == 2
        assert "nowhere: no such file or folder" in result.stderr
        assert Path("chain").exists() == expected
        assert run(*COMMAND, *["--overwrite"] * expected).exit_code == 0
    result = refused("train", "--resume", "chain", "--steps", "9")
    assert result.startswith("--resume of a chain continues it as it was started; leave out train.steps")


def test_a_dry_run_looks_at_the_pages_of_every_stage(place):
    result = run(*COMMAND, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "2-unlabelled: 6 pages to train on, 2 held out" in result.output
    rows = [{**row, "text": "ab"} for row in rows_of(Path("scans") / "metadata.jsonl")]
    Path("scans").unlink()
    Path("known").mkdir()
    for row in rows:
        make_page(0).image.save(Path("known") / row["file_name"])
    (Path("known") / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run(*[word if word != "scans" else "known" for word in COMMAND], "--dry-run")
    assert result.exit_code == 2
    assert "data.train is unlabelled, but none of the 12 pages to train on lacks a text" in result.stderr


def test_a_stage_without_steps_hands_on_what_it_started_from(place):
    assert run(*COMMAND, "--set", "stages.1.train.steps=0").exit_code == 0
    assert 'path = "policy"' in (Path("chain") / "2-unlabelled" / "resolved.toml").read_text()

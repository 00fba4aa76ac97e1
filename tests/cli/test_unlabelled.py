"""Scans without a single label: checked, trained on, and watched."""

import json

import pytest

from helpers.commands import refused, rows_of, run
from helpers.runs import SETTINGS
from helpers.tiny_models import make_page, make_policy
from ocr_rl.data.loading import load_pages

SHORT = SETTINGS | {"train.steps": 2, "train.eval_every": 1, "train.checkpoint_every": 0}


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """A folder of images and nothing else."""
    monkeypatch.chdir(tmp_path)
    make_policy().save(tmp_path / "policy")
    (tmp_path / "scans").mkdir()
    for i in range(8):
        make_page(i).image.save(tmp_path / "scans" / f"{i}.png")
    return tmp_path / "scans"


def test_a_page_needs_no_label_where_none_is_asked_for(scans):
    pages = load_pages(scans, labels=False)
    assert [(page.id, page.text, page.tests) for page in pages] == [(f"{i}.png", None, ()) for i in range(8)]
    (scans / "3.txt").write_text("known")
    assert [page.text for page in load_pages(scans, labels=False)] == [None] * 3 + ["known"] + [None] * 4
    (scans / "metadata.jsonl").write_text('{"file_name": "0.png"}\n{"file_name": "1.png", "text": "a"}\n')
    assert [page.text for page in load_pages(scans, labels=False)] == [None, "a"]


def test_data_check_takes_them_on_request(scans):
    assert run("data", "check", "scans").exit_code == 2
    result = run("data", "check", "scans", "--no-labels")
    assert result.exit_code == 0, result.output
    assert "8 pages" in result.output


def test_training_on_agreement_alone(scans):
    settings = [word for key, value in SHORT.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    result = run("train", "unlabelled", "--data", "scans", "--model", "policy", "--out", "run", *settings)
    assert result.exit_code == 0, result.output
    steps = rows_of(scans.parent / "run" / "metrics.jsonl")
    assert all(row["reward"] == pytest.approx(row["reward/consensus"], abs=0.2) for row in steps)
    assert all(row["cer"] is None and row["eval/alarms"] is not None for row in steps)
    after = json.loads((scans.parent / "run" / "eval" / "after.json").read_text())
    assert (after["cer"], after["n"]) == (None, 2)
    assert (scans.parent / "run" / "report.html").is_file()


def test_without_consensus_a_label_is_missing(scans):
    assert "has no transcription next to it" in refused("train", "--data", "scans", "--model", "policy")
    refusal = refused("train", "unlabelled", "--data", "scans", "--set", "rollout.group_size=1")
    assert refusal.startswith("rollout.group_size is 1; write at least 2")

"""What a new run replaces goes when the run begins, and comes back if it never does."""

import pytest

from ocr_rl.run_folder import RunFolder


def names(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture
def old(tmp_path):
    """A run with a step."""
    run = RunFolder.create(tmp_path / "run", "old = 1")
    run.log({"step": 1})
    return run


def test_a_run_that_begins_replaces_the_old_one(old):
    run = RunFolder.create(old.path, "new = 1", overwrite=True)
    run.settle()
    assert names(old.path.parent) == ["run"]
    assert names(run.path) == ["checkpoints", "eval", "resolved.toml", "rollouts"]
    assert (run.path / "resolved.toml").read_text() == "new = 1"


def test_a_run_that_never_begins_gives_the_old_one_back(old):
    RunFolder.create(old.path, "new = 1", overwrite=True).abandon()
    assert names(old.path.parent) == ["run"]
    assert (old.path / "resolved.toml").read_text() == "old = 1"
    assert (old.path / "metrics.jsonl").read_text() == '{"step": 1}\n'


def test_a_first_run_that_never_begins_leaves_nothing(tmp_path):
    RunFolder.create(tmp_path / "run", "").abandon()
    assert names(tmp_path) == []

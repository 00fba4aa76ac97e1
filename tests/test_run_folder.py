"""A run folder is created whole, replaced only when asked to, and given back if the run never began."""

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


def test_a_new_run_has_its_recipe_and_empty_folders(tmp_path):
    RunFolder.create(tmp_path / "a" / "run", "x = 1").settle()
    assert names(tmp_path / "a") == ["run"]
    assert names(tmp_path / "a" / "run") == ["checkpoints", "eval", "resolved.toml", "rollouts"]


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


def test_a_checkpoint_appears_whole_and_the_oldest_go(old):
    def save(folder):
        assert names(old.path / "checkpoints")[-1].endswith(".partial")
        (folder / "weights").write_text("w")

    for step in (1, 2, 3):
        old.write_checkpoint(step, save, keep=2)
    assert [folder.name for folder in old.checkpoints()] == ["step_000002", "step_000003"]
    assert names(old.path / "checkpoints") == ["step_000002", "step_000003"]


def test_a_checkpoint_that_fails_halfway_leaves_the_one_before(old):
    old.write_checkpoint(1, lambda folder: (folder / "weights").write_text("w"), keep=1)

    def broken(folder):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        old.write_checkpoint(2, broken, keep=1)
    assert [folder.name for folder in old.checkpoints()] == ["step_000001"]

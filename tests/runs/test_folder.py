"""The run folder: whole or absent, and never written over by accident."""

import errno
import json

import pytest

from ocr_rl.runs import compression
from ocr_rl.runs.folder import RunFolder


def save(content="weights"):
    return lambda folder: (folder / "model.safetensors").write_text(content)


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "run", "seed = 1\n")


def test_a_run_starts_with_its_resolved_recipe(run):
    assert (run.path / "resolved.toml").read_text() == "seed = 1\n"
    assert {path.name for path in run.path.iterdir()} == {"resolved.toml", "rollouts", "checkpoints", "eval"}


def test_a_folder_that_holds_a_run_is_not_written_over(run):
    run.log({"step": 1})
    with pytest.raises(ValueError, match=r"run holds a run already; give another --out, or --overwrite to replace"):
        RunFolder.create(run.path, "seed = 2\n")
    assert (run.path / "resolved.toml").read_text() == "seed = 1\n"
    assert (run.path / "metrics.jsonl").exists()


def test_overwrite_replaces_a_run_whole(run):
    run.log({"step": 1})
    RunFolder.create(run.path, "seed = 2\n", overwrite=True)
    assert (run.path / "resolved.toml").read_text() == "seed = 2\n"
    assert not (run.path / "metrics.jsonl").exists()


def test_overwrite_does_not_delete_what_is_no_run(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="holds files already"):
        RunFolder.create(tmp_path, "", overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_an_empty_folder_will_do(tmp_path):
    RunFolder.create(tmp_path, "")
    assert (tmp_path / "resolved.toml").exists()


def test_metrics_are_one_object_per_line(run):
    run.log({"step": 1, "reward": 0.5})
    run.log({"step": 2, "reward": None})
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": 1, "reward": 0.5}, {"step": 2, "reward": None}]


def test_rollouts_and_evaluations_keep_their_characters(run):
    run.write_rollouts(7, [{"completion": "ſtraße\n😀"}, {"completion": ""}])
    run.write_eval("before", {"cer": 0.25, "pages": ["ä"]})
    lines = (run.path / "rollouts" / "step_000007.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["completion"] for line in lines[:-1]] == ["ſtraße\n😀", ""]
    assert "ſtraße" in lines[0]
    assert json.loads((run.path / "eval" / "before.json").read_text())["pages"] == ["ä"]


def test_large_rollouts_are_compressed_and_read_alike(run, monkeypatch):
    monkeypatch.setattr(compression, "COMPRESSED_FROM", 1000)
    rows = {step: [{"completion": "ſtraße\n😀", "step": step}] * count for step, count in ((1, 5), (2, 500))}
    for step, own in rows.items():
        run.write_rollouts(step, own)
        assert run.read_rollouts(step) == own
    assert names(run.path / "rollouts") == ["step_000001.jsonl", "step_000002.jsonl.zst"]
    assert (run.path / "rollouts" / "step_000002.jsonl.zst").stat().st_size < 1000
    run.write_rollouts(1, rows[2])
    run.write_rollouts(2, rows[1])
    assert names(run.path / "rollouts") == ["step_000001.jsonl.zst", "step_000002.jsonl"]
    damaged = run.path / "rollouts" / "step_000001.jsonl.zst"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"step_000001.jsonl.zst: is damaged"):
        run.read_rollouts(1)
    run.rewind(0, "seed = 1\n")
    assert names(run.path / "rollouts") == []


def test_a_checkpoint_appears_only_when_it_is_complete(run):
    def die(folder):
        save("half")(folder)
        assert run.checkpoints() == []
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.write_checkpoint(1, die, keep=2)
    assert run.checkpoints() == []
    assert run.write_checkpoint(1, save("whole"), keep=2).name == "step_000001"
    assert [p.name for p in (run.path / "checkpoints").iterdir()] == ["step_000001"]
    assert (run.checkpoints()[0] / "model.safetensors").read_text() == "whole"


def test_only_the_newest_checkpoints_are_kept(run):
    for step in (5, 10, 100, 1000):
        run.write_checkpoint(step, save(str(step)), keep=2)
    assert [path.name for path in run.checkpoints()] == ["step_000100", "step_001000"]


def test_a_step_saved_again_is_replaced(run):
    run.write_checkpoint(1, save("old"), keep=1)
    run.write_checkpoint(1, save("new"), keep=1)
    assert (run.checkpoints()[0] / "model.safetensors").read_text() == "new"


def test_the_best_and_what_is_newer_than_the_checkpoint_are_spared(run):
    """A run that goes on from step 2 finds step 6 damaged; it is replaced when its turn comes."""
    for step in (1, 2, 6):
        run.write_checkpoint(step, save(str(step)), keep=9)
    run.write_checkpoint(3, save("3"), keep=1, spare=1)
    assert [path.name for path in run.checkpoints()] == ["step_000001", "step_000003", "step_000006"]


def test_a_checkpoint_knows_what_it_has_lost(run):
    folder = run.write_checkpoint(1, save("12345678"), keep=1)
    assert run.damage(folder) is None
    (folder / "model.safetensors").write_text("1234")
    assert run.damage(folder) == f"{folder}/model.safetensors has 4 bytes, but 8 were written"
    (folder / "model.safetensors").unlink()
    assert run.damage(folder) == f"{folder}/model.safetensors is missing"
    (folder / "trainer" / "files.json").write_text("{")
    assert run.damage(folder) == f"{folder}/trainer/files.json is damaged"
    (folder / "trainer" / "files.json").unlink()
    assert run.damage(folder) == f"{folder}/trainer/files.json is missing"


def test_a_checkpoint_that_cannot_be_written_leaves_nothing_and_the_old_ones(run):
    def full(folder):
        save("half")(folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    run.write_checkpoint(1, save("whole"), keep=1)
    with pytest.raises(OSError, match="No space left") as caught:
        run.write_checkpoint(2, full, keep=1)
    assert caught.value.filename == str(run.path / "checkpoints" / "step_000002")
    assert names(run.path / "checkpoints") == ["step_000001"]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", 0),
        ('{"step": 1}\n{"step": 2}\n', 2),
        ('{"step": 1}\n{"step": 2}', 1),  # its end did not get to disk
        ('{"step": 1}\n{"ste', 1),
        ('{"step": 1}\n{"ste\n{"step": 3}\n', 1),
        ('{"step": 1}\n\0\0\0\0', 1),
        ('{"step": 1}\n{"step": 3}\n', 1),
        ('{"step": 1}\n[]\n', 1),
    ],
)
def test_steps_are_logged_up_to_the_first_line_that_is_not_whole(run, text, steps):
    (run.path / "metrics.jsonl").write_text(text)
    logged = run.logged()
    assert [step.metrics for step in logged] == [{"step": i + 1} for i in range(steps)]
    assert [step.end for step in logged] == [12 * (i + 1) for i in range(steps)]


def test_a_run_that_is_being_trained_is_not_replaced(run):
    with run.locked(), pytest.raises(ValueError, match="is being trained by another process; wait for it or stop it"):
        RunFolder.create(run.path, "", overwrite=True)
    RunFolder.create(run.path, "new = 1", overwrite=True)


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
    run.commit()
    assert names(old.path.parent) == ["run"]
    assert names(run.path) == ["checkpoints", "eval", "resolved.toml", "rollouts"]
    assert (run.path / "resolved.toml").read_text() == "new = 1"


def test_a_run_that_never_begins_gives_the_old_one_back(old):
    RunFolder.create(old.path, "new = 1", overwrite=True).rollback()
    assert names(old.path.parent) == ["run"]
    assert (old.path / "resolved.toml").read_text() == "old = 1"
    assert (old.path / "metrics.jsonl").read_text() == '{"step": 1}\n'


def test_a_first_run_that_never_begins_leaves_nothing(tmp_path):
    RunFolder.create(tmp_path / "run", "").rollback()
    assert names(tmp_path) == []


def test_old_checkpoints_that_a_kill_left_behind_are_pruned(run):
    for step in (1, 2, 3, 4):
        run.write_checkpoint(step, save(), keep=9)
    run.prune(3, keep=1, spare=1)  # the run goes on from step 3; step 4 is damaged, and no business of this
    assert [path.name for path in run.checkpoints()] == ["step_000001", "step_000003", "step_000004"]

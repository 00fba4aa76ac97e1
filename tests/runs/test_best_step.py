"""Keeping the best step: chosen by a metric of the held-out pages, saved at once, never pruned, found again."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from helpers.grpo_steps import RUBRIC, metrics_of
from helpers.tiny_models import make_page, make_policy, make_recipe, weights
from ocr_rl.algorithms.grpo import GrpoTrainer
from ocr_rl.config.schema import ModelConfig
from ocr_rl.config.validation import check
from ocr_rl.models.policy import Policy
from ocr_rl.pipeline.job import check_keep_best
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.runs.best_step import BestStep
from ocr_rl.runs.folder import RunFolder
from ocr_rl.runs.resume import newest_usable
from ocr_rl.training.loop import TrainingLoop


def train(tmp_path, values, metric="cer", keep_best=True, start=None):
    """A run that evaluates after every step and finds these values, and `start` before; the weights after each step."""
    policy, seen = make_policy(), []
    found = iter(values)

    def evaluate(step):
        seen.append(weights(policy))
        return {metric: next(found)}

    pages = [make_page(i, text="ab") for i in range(3)]
    recipe = make_recipe(
        train_steps=len(values),
        train_eval_every=1,
        train_keep_best=metric if keep_best else "",
        train_keep_checkpoints=1,
    )
    run = RunFolder.create(tmp_path / "run", "")
    trainer = GrpoTrainer(
        policy, TransformersEngine(policy), pages, GroupScorer(RewardFunction(RUBRIC, pages), 0), recipe
    )
    at_start = None if start is None else {"step": 0, f"eval/{metric}": start}
    seen.append(weights(policy))
    TrainingLoop(trainer, policy, pages, recipe, run, evaluate, at_start=at_start).run()
    return run, seen


def kept(run):
    return [path.name for path in run.checkpoints()]


def test_the_best_step_is_kept_in_addition_to_the_newest(tmp_path):
    run, _ = train(tmp_path, [0.5, 0.3, 0.4, 0.35])
    assert run.best() == {"step": 2, "metric": "cer", "value": 0.3}
    assert kept(run) == ["step_000002", "step_000004"]
    assert [row["eval/cer"] for row in metrics_of(run)] == [0.5, 0.3, 0.4, 0.35]


def test_the_best_checkpoint_holds_the_weights_that_were_evaluated(tmp_path):
    run, seen = train(tmp_path, [0.5, 0.3, 0.4])
    saved = weights(Policy.load(ModelConfig(path=str(run.checkpoint(2)))))
    for name, tensor in seen[2].items():
        assert torch.equal(saved[name], tensor), name
    assert any(not torch.equal(saved[name], tensor) for name, tensor in seen[3].items())


def test_a_start_that_no_step_improves_on_is_the_best_step(tmp_path):
    run, seen = train(tmp_path, [0.5, 0.3, 0.4], start=0.3)
    assert run.best() == {"step": 0, "metric": "cer", "value": 0.3}
    assert kept(run) == ["step_000000", "step_000003"]
    saved = weights(Policy.load(ModelConfig(path=str(run.checkpoint(0)))))
    for name, tensor in seen[0].items():
        assert torch.equal(saved[name], tensor), name


def test_a_start_that_is_improved_on_is_not_kept(tmp_path):
    run, _ = train(tmp_path, [0.5, 0.2, 0.4], start=0.3)
    assert run.best() == {"step": 2, "metric": "cer", "value": 0.2}
    assert kept(run) == ["step_000002", "step_000003"]


def test_for_pass_rate_more_is_better(tmp_path):
    run, _ = train(tmp_path, [0.5, 0.3, 0.6, 0.4], metric="pass_rate")
    assert run.best() == {"step": 3, "metric": "pass_rate", "value": 0.6}


def test_without_keep_best_evaluations_save_nothing(tmp_path):
    run, _ = train(tmp_path, [0.5, 0.3, 0.4], keep_best=False)
    assert run.best() is None
    assert kept(run) == ["step_000003"]


@pytest.fixture
def run(tmp_path):
    """A run folder to which `evaluated` adds steps, as training does."""
    return RunFolder.create(tmp_path / "run", "")


def evaluated(run, best, step, value):
    metrics = {"step": step, "eval/cer": value}
    run.log(metrics)
    if best.offer(step, metrics):
        run.write_checkpoint(step, lambda folder: None, keep=1, spare=best.step)
        best.publish()


def test_of_equals_the_first_is_the_best(run):
    best = BestStep(run, "cer")
    for step, value in enumerate([0.3, 0.3, 0.4, 0.3], 1):
        evaluated(run, best, step, value)
    assert run.best()["step"] == 1


def test_an_evaluation_without_the_metric_is_never_the_best(run):
    best = BestStep(run, "cer")
    evaluated(run, best, 1, None)
    assert best.step is None
    evaluated(run, best, 2, 7.5)
    assert run.best()["step"] == 2


def test_a_resumed_run_continues_with_the_best_step_so_far(run):
    best = BestStep(run, "cer")
    evaluated(run, best, 1, 0.5)
    evaluated(run, best, 2, 0.3)
    best = BestStep(run, "cer")
    assert (best.step, best.value) == (2, 0.3)
    evaluated(run, best, 3, 0.4)
    assert run.best() == {"step": 2, "metric": "cer", "value": 0.3}
    assert kept(run) == ["step_000002"]


def test_a_kill_between_the_checkpoint_and_best_json_loses_nothing(run):
    best = BestStep(run, "cer")
    evaluated(run, best, 1, 0.5)
    run.log({"step": 2, "eval/cer": 0.3})
    run.write_checkpoint(2, lambda folder: None, keep=1, spare=2)
    assert run.best()["step"] == 1  # killed here
    BestStep(run, "cer")
    assert run.best() == {"step": 2, "metric": "cer", "value": 0.3}


def test_a_best_checkpoint_that_was_deleted_gives_way_to_the_next(run):
    best = BestStep(run, "cer")
    for step, value in enumerate([0.3, 0.4], 1):
        evaluated(run, best, step, value)
    run.write_checkpoint(2, lambda folder: None, keep=1, spare=1)
    shutil.rmtree(run.checkpoint(1))
    assert BestStep(run, "cer").step == run.best()["step"] == 2
    shutil.rmtree(run.checkpoint(2))
    assert BestStep(run, "cer").step is None
    assert run.best() is None


def test_a_damaged_start_is_made_again(run):
    """As if the run had saved nothing; a damaged step would be an error."""
    run.write_checkpoint(0, lambda folder: (folder / "weights").write_text("w"), keep=1)
    (run.checkpoint(0) / "weights").unlink()
    assert newest_usable(run) == (None, [f"{run.checkpoint(0)}/weights is missing"])


def test_best_json_is_one_plain_object(run):
    evaluated(run, BestStep(run, "cer"), 1, 0.25)
    text = (run.path / "checkpoints" / "best.json").read_text()
    assert json.loads(text) == {"step": 1, "metric": "cer", "value": 0.25}


def test_keeping_the_best_needs_evaluations():
    with pytest.raises(ValueError, match=r"eval_every is 0; write at least 1: .* = cer chooses among evaluations"):
        check(make_recipe(train_keep_best="cer"))
    check(make_recipe(train_keep_best="cer", train_eval_every=5))


def test_a_metric_that_no_held_out_page_allows_is_refused_before_training():
    page = make_page()

    def check(metric, pages, **changes):
        check_keep_best(make_recipe(train_keep_best=metric, **changes), pages)

    check("cer", [page])
    check("reward", [page])
    with pytest.raises(ValueError, match="is pass_rate, but no held-out page has a test; write cer or reward"):
        check("pass_rate", [page])
    with pytest.raises(ValueError, match="keep_best is exact, but no held-out page has a text; write pass_rate or"):
        check("exact", [])
    with pytest.raises(ValueError, match="a single transcription of a held-out page has no consensus"):
        check("reward", [page], reward_weights={"consensus": 1.0})


def test_patience_needs_something_to_measure():
    agreement = make_recipe(train_patience=2, train_eval_every=1, reward_weights={"consensus": 1.0})
    with pytest.raises(ValueError, match="patience is 2, but no held-out page has a text or a test"):
        check_keep_best(agreement, [replace(make_page(), text=None)])
    check_keep_best(agreement, [make_page()])

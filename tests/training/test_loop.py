"""The training loop, by short GRPO runs: what it writes, when it saves, and what stops it."""

import json
import math
import os
import signal

import pytest
import torch

from helpers.grpo_steps import metrics_of, run_training
from helpers.tiny_models import assert_all_close, make_policy, weights
from ocr_rl.algorithms import grpo as grpo_module
from ocr_rl.config.schema import ModelConfig
from ocr_rl.errors import EngineError, TrainingStoppedError
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.runs.folder import RunFolder
from ocr_rl.training.optimizer import clipped_step

CONTRACT = {
    "step",
    "time_s",
    "loss",
    "reward",
    "reward_std",
    "pass_rate",
    "cer",
    "kl",
    "clip_fraction",
    "entropy",
    "completion_length",
    "truncated_fraction",
    "zero_advantage_fraction",
    "grad_norm",
    "lr",
    "tokens_per_s",
    "refused",
    "pages",
    "completions",
    "sampled_tokens",
    "peak_memory_mib",
    "threads",
    "mismatch/kl",
    "mismatch/max",
    "mismatch/ess",
    "mismatch/weight",
}
PARTS = {"reward/similarity", "reward/exact", "reward/end"}


class Interfering(TransformersEngine):
    """Calls `interfere(policy)` before the given rollout."""

    def __init__(self, policy, step, interfere):
        super().__init__(policy)
        self.left, self.interfere = step, interfere

    def stream(self, *args):
        self.left -= 1
        if self.left == 0:
            self.interfere(self.policy)
        yield from super().stream(*args)


def rollouts_of(run, step):
    text = (run.path / "rollouts" / f"step_{step:06d}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def poison_gradients(policy):
    policy.head.weight.register_hook(lambda grad: grad * math.nan)


def test_a_run_writes_what_its_folder_promises(tmp_path):
    run, policy = run_training(tmp_path)
    rows = metrics_of(run)
    assert [row["step"] for row in rows] == [1, 2, 3]
    for row in rows:
        times = {f"time/{part}" for part in ("wait", "sync", "generate", "score", "learn", "compute")}
        assert row.keys() - times == CONTRACT | PARTS
        assert row["pass_rate"] is None  # no page has tests
        assert row["kl"] is None  # beta is 0
        assert all(math.isfinite(value) for value in row.values() if value is not None)
    for step in (1, 2, 3):
        rollouts = rollouts_of(run, step)
        assert len(rollouts) == 2 * 4
        assert rollouts[0].keys() == {
            "page", "completion", "finish_reason", "reward", "parts", "tests", "advantage",
        }  # fmt: skip
        assert sum(r["reward"] for r in rollouts) / 8 == pytest.approx(rows[step - 1]["reward"])
    assert [path.name for path in run.checkpoints()] == ["step_000003"]
    again = Policy.load(ModelConfig(path=str(run.checkpoints()[-1])))
    assert_all_close(weights(again), weights(policy), 0.0)


@pytest.mark.parametrize("options", [{}, {"grpo_beta": 0.1, "grpo_inner_epochs": 2}])
def test_two_runs_with_one_seed_are_identical(tmp_path, options):
    def timeless(run):
        return [
            {k: v for k, v in row.items() if not k.startswith(("time", "tokens_per_s", "peak_memory"))}
            for row in metrics_of(run)
        ]

    (first, a), (again, b), (other, _) = (
        run_training(tmp_path, str(i), train_seed=seed, **options) for i, seed in enumerate((5, 5, 6))
    )
    assert timeless(first) == timeless(again) != timeless(other)
    assert [rollouts_of(first, s) for s in (1, 2, 3)] == [rollouts_of(again, s) for s in (1, 2, 3)]
    assert_all_close(weights(a), weights(b), 0.0)


@pytest.mark.parametrize("checkpoint_every", [0, 1])
def test_a_nan_stops_the_run_with_the_last_good_step_saved(tmp_path, checkpoint_every):
    policy = make_policy()
    good = {}

    def poison(policy):
        good.update(weights(policy))
        poison_gradients(policy)

    with pytest.raises(
        TrainingStoppedError, match=r"^step 3: the gradient norm is nan; the weights before this update are"
    ):
        run_training(
            tmp_path,
            engine=lambda p: Interfering(p, 3, poison),
            policy=policy,
            train_steps=5,
            train_checkpoint_every=checkpoint_every,
        )
    run = RunFolder(tmp_path / "run")
    assert run.checkpoints()[-1].name == "step_000002"
    assert [row["step"] for row in metrics_of(run)] == [1, 2]
    assert_all_close(weights(policy), good, 0.0)
    assert_all_close(weights(Policy.load(ModelConfig(path=str(run.checkpoints()[-1])))), good, 0.0)


def test_an_engine_that_failed_stops_the_run_with_the_last_step_saved(tmp_path):
    def fail(_):
        raise EngineError("the engine died 4 times")

    with pytest.raises(TrainingStoppedError, match=r"^the engine failed in step 3: the engine died 4 times"):
        run_training(tmp_path, engine=lambda p: Interfering(p, 3, fail), train_steps=5)
    run = RunFolder(tmp_path / "run")
    assert run.checkpoints()[-1].name == "step_000002"


def test_weights_that_blow_up_stop_the_run(tmp_path):
    """A rate of 1e30 leaves finite weights whose next logits are not finite: no crash in the sampler."""
    with pytest.raises(TrainingStoppedError, match=r"^step 2: "):
        run_training(tmp_path, train_learning_rate=1e30)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_or_sigterm_finishes_the_step_and_saves(tmp_path, stop):
    before = signal.getsignal(stop)
    run, _ = run_training(
        tmp_path,
        engine=lambda p: Interfering(p, 2, lambda _: os.kill(os.getpid(), stop)),
        train_steps=100,
    )
    assert [row["step"] for row in metrics_of(run)] == [1, 2]
    assert [path.name for path in run.checkpoints()] == ["step_000002"]
    assert signal.getsignal(stop) is before


@pytest.mark.parametrize(("broken", "saved"), [(5, ["step_000002"]), (6, [])])
def test_a_step_that_stops_between_two_updates_is_not_saved(tmp_path, monkeypatch, broken, saved):
    """Two updates per step: the fifth is the first of step 3, before which the weights are those of step 2."""
    calls = []

    def guarded(optimizer, parameters, *rest):
        calls.append(1)
        if len(calls) == broken:
            parameters[0].grad = torch.full_like(parameters[0], math.nan)
        return clipped_step(optimizer, parameters, *rest)

    monkeypatch.setattr(grpo_module, "clipped_step", guarded)
    with pytest.raises(TrainingStoppedError, match=r"^step 3: the gradient norm is nan"):
        run_training(tmp_path, train_steps=5, grpo_updates_per_batch=2)
    assert [path.name for path in RunFolder(tmp_path / "run").checkpoints()] == saved


def test_evaluations_and_checkpoints_come_at_their_steps(tmp_path):
    run, _ = run_training(
        tmp_path,
        evaluate=lambda step: {"cer": 0.5},
        train_steps=5,
        train_eval_every=2,
        train_checkpoint_every=2,
        train_keep_checkpoints=2,
    )
    for name in ("eval/cer", "time/evaluate"):
        assert [name in row for row in metrics_of(run)] == [False, True, False, True, False]
    assert [path.name for path in run.checkpoints()] == ["step_000004", "step_000005"]


def test_a_run_of_no_steps_trains_nothing(tmp_path):
    policy = make_policy()
    before = weights(policy)
    run, policy = run_training(tmp_path, policy=policy, train_steps=0)
    assert_all_close(weights(policy), before, 0.0)
    assert not (run.path / "metrics.jsonl").exists()


def test_three_steps_that_teach_nothing_are_a_line_on_the_terminal(tmp_path, capsys):
    """No completion of a random policy ends within one token, four times; it is said once."""
    policy = make_policy()
    policy.suppressed_ids = (*policy.suppressed_ids, *policy.end_ids)
    run_training(tmp_path, policy=policy, train_steps=4, rollout_max_tokens=2)
    assert capsys.readouterr().err.count("steps 1 to 3 teach nothing: every completion is cut off") == 1

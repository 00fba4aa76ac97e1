"""What every algorithm shares: the loop over steps with its checkpoints and evaluations, optimiser, schedule, log."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from ocr_rl import distributed
from ocr_rl.config.loader import to_toml
from ocr_rl.config.schema import Recipe
from ocr_rl.errors import EngineError, TrainingStoppedError
from ocr_rl.models.policy import Policy
from ocr_rl.runs.best_step import BestStep
from ocr_rl.runs.budget import Budget
from ocr_rl.runs.folder import RunFolder
from ocr_rl.runs.resume import ResumePoint
from ocr_rl.training.base import Trainer
from ocr_rl.training.batching import step_seed
from ocr_rl.training.checkpoint import load_checkpoint, save_checkpoint
from ocr_rl.training.interrupts import stop_after_step
from ocr_rl.training.metrics_log import Log
from ocr_rl.training.optimizer import learning_rate, updates_made
from ocr_rl.training.resources import compute_clock, resources
from ocr_rl.types import Page

Evaluate = Callable[[], Mapping[str, Any]]


def run_steps(
    trainer: Trainer,
    policy: Policy,
    pages: Sequence[Page],
    recipe: Recipe,
    run: RunFolder,
    evaluate: Evaluate,
    start: ResumePoint | None = None,
) -> None:
    """Train `policy` in place on `pages` until the budget is used up, recipe.train.steps at most, logging to `run`.

    `evaluate` scores held-out pages; it is called every train.eval_every steps, and where the budget says. A step that
    is the best so far by train.keep_best is saved at once. With `start`, go on from there as if the run had never
    stopped. Of several processes each calls this; all end after the same step.

    Raises:
        TrainingStoppedError: a loss or gradient is not finite, or the engine is gone; the last checkpoint is of the
            step before.
    """
    train = recipe.train
    done = start.step if start is not None else 0
    if start is not None:
        if start.checkpoint is not None:
            load_checkpoint(start.checkpoint, policy, trainer.optimizer, pages, done, trainer.state)
        distributed.of_first(lambda: run.rewind(done, to_toml(recipe)))
    trainer.start(done)
    best = BestStep(run, train.keep_best)
    run.prune(done, train.keep_checkpoints, spare=best.step)  # a run that was killed may have had no time to
    budget = Budget(recipe, [logged.metrics for logged in run.logged()])
    on_gpu = policy.device.type == "cuda"
    saved = done

    def checkpoint(step: int) -> int:
        def save(folder: Path) -> None:
            save_checkpoint(folder, policy, trainer.optimizer, recipe, pages, step, trainer.state)
            trainer.save(folder)

        run.write_checkpoint(step, save, train.keep_checkpoints, spare=best.step)
        if step == best.step:
            best.publish()
        return step

    step = last_update = done
    with stop_after_step() as asked_to_stop, Log(run, train, done) as log, closing(trainer):
        try:
            while not budget.used_up:
                step += 1
                began, updates = compute_clock(on_gpu), updates_made(trainer.optimizer)
                torch.manual_seed(step_seed(step, train.seed))
                result = trainer.step(step, learning_rate(step, train))
                last_update = step
                metrics = dict(result.metrics)
                metrics |= resources(max(0.0, compute_clock(on_gpu) - began), on_gpu)
                halfway = budget.spend(metrics)
                if result.rollouts:
                    run.write_rollouts(step, result.rollouts)
                if halfway or (train.eval_every and step % train.eval_every == 0):
                    began = time.monotonic()
                    trainer.sync_engine()
                    measured = {**evaluate(), **trainer.measure()}
                    metrics |= {f"eval/{name}": value for name, value in measured.items()}
                    metrics["time/evaluate"] = round(time.monotonic() - began, 3)
                log.step(step, metrics)
                if best.offer(step, metrics) or (train.checkpoint_every and step % train.checkpoint_every == 0):
                    saved = checkpoint(step)
                if distributed.any_of(bool(asked_to_stop)):
                    break
        except (TrainingStoppedError, EngineError) as stop:
            distributed.tell(stop)
            if saved < step - 1 and updates_made(trainer.optimizer) == updates:
                checkpoint(step - 1)
            where = f"the engine failed in step {step}" if isinstance(stop, EngineError) else f"step {step}"
            raise TrainingStoppedError(f"{where}: {stop}") from None
        except FloatingPointError as error:  # the weights are broken, and not worth saving
            distributed.tell(error)
            raise TrainingStoppedError(
                f"step {step}: {error}: the update of step {last_update} broke the weights. "
                "Use a checkpoint from before it, if there is one, and try a lower train.learning_rate"
            ) from None
        if saved < step:
            checkpoint(step)
        trainer.sync_engine()

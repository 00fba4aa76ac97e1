"""The loop over training steps: update, log, evaluate, save."""

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
from ocr_rl.runs.idle_steps import LASTING, IdleSteps
from ocr_rl.runs.patience import Patience
from ocr_rl.runs.resume import ResumePoint
from ocr_rl.seeds import derive
from ocr_rl.threads import ThreadWatch
from ocr_rl.training.base import Trainer
from ocr_rl.training.checkpoint import load_checkpoint, save_checkpoint
from ocr_rl.training.interrupts import stop_after_step
from ocr_rl.training.metrics_log import Log
from ocr_rl.training.optimizer import learning_rate, updates_made
from ocr_rl.training.resources import compute_clock, resources
from ocr_rl.types import Page

Evaluate = Callable[[int], Mapping[str, Any]]
"""The measures of held-out pages after a step; under `alarms`, lines about what is worse than before."""


class TrainingLoop:
    """Trains `policy` in place on `pages` until budget or patience ends, for at most train.steps, and logs to `folder`.

    Each of several processes runs one; all end after the same step.
    """

    def __init__(
        self,
        trainer: Trainer,
        policy: Policy,
        pages: Sequence[Page],
        recipe: Recipe,
        folder: RunFolder,
        evaluate: Evaluate,
        start: ResumePoint | None = None,
        at_start: Mapping[str, Any] | None = None,
    ) -> None:
        """`evaluate` measures held-out pages. With `start`, the run continues there as if it had never stopped.

        `at_start` is what a step has to be better than, in the form of a line of the log.
        """
        self.trainer, self.policy, self.pages, self.recipe = trainer, policy, pages, recipe
        self.folder, self.evaluate, self.start, self.at_start = folder, evaluate, start, at_start
        self.step = 0 if start is None else start.step
        """The step in progress, or the last one."""
        self.updated = self.saved = self.step
        """The last step that changed the weights, and the last one with a checkpoint."""
        self.alarms: Sequence[str] = []
        """What an evaluation after this step found worse than before."""
        self.alone = False
        """The other processes do not know that this one has failed, so that divided weights cannot be saved."""
        self.notes: dict[str, float] = {}
        """For the next line of the log."""
        self.on_gpu = policy.device.type == "cuda"
        self.threads = ThreadWatch(torch.get_num_threads, torch.set_num_threads)

    def run(self) -> None:
        """Train, save the last step, and give the engine the last weights.

        Raises:
            TrainingStoppedError: a loss or gradient is not finite, or the engine is gone. The last checkpoint is that
                of the step before.
        """
        train = self.recipe.train
        if self.start is not None:
            self._restore(self.start)
        self.trainer.start(self.step)
        self.best = BestStep(self.folder, train.keep_best, self.at_start)
        # a run that was killed may have had no time to prune
        self.folder.prune(self.step, train.keep_checkpoints, spare=self.best.step)
        done = [logged.metrics for logged in self.folder.logged()]
        self.budget = Budget(self.recipe, done)
        self.patience = Patience(train, [*filter(None, [self.at_start]), *done])
        self.idle = IdleSteps()
        for metrics in done:
            self.idle.add(metrics)
        with (
            stop_after_step() as stop_requested,
            Log(self.folder, train, self.step) as log,
            closing(self.trainer),
            distributed.announced(),  # before the trainer is closed, which waits for the other processes
        ):
            if "removed_pages" in self.notes:
                log.say(f"{self.notes['removed_pages']} pages have been removed since step {self.step}: left out")
            try:
                if self.step == 0 and self.at_start and self.best.offer(0, self.at_start):
                    self._checkpoint(0)
                while not (self.budget.used_up or self.patience.at_end):
                    self._step(log)
                    if distributed.any_of(bool(stop_requested)) or (self.alarms and train.stop_on_alarm):
                        break
            except (TrainingStoppedError, EngineError, FloatingPointError) as error:
                self.alone = not distributed.announce_failure(error)
                raise self._stopped(error) from None
            except (ValueError, RuntimeError) as error:  # one bad page or a bug: what was trained is kept
                self.alone = not distributed.announce_failure(error)
                self._save_step_before()
                raise
            if self.saved < self.step:
                self._checkpoint(self.step)
            self.trainer.sync_engine()

    def _restore(self, start: ResumePoint) -> None:
        """Weights and run folder as they were after the step to continue from."""
        if start.checkpoint is not None:
            trainer = self.trainer
            removed = load_checkpoint(
                start.checkpoint,
                self.policy,
                trainer.optimizer,
                self.pages,
                start.step,
                trainer.state,
                start.allow_removed_pages,
            )
            if removed:
                self.notes["removed_pages"] = removed
        distributed.of_first(lambda: self.folder.rewind(start.step, to_toml(self.recipe)))

    def _step(self, log: Log) -> None:
        """One update and its line in the log.

        It is evaluated every train.eval_every steps and where the budget says, and saved every train.checkpoint_every
        steps and if it is the best so far by train.keep_best.
        """
        train = self.recipe.train
        self.step += 1
        began, self.updates = compute_clock(self.on_gpu), updates_made(self.trainer.optimizer)
        torch.manual_seed(derive(train.seed, "step", self.step))
        with self.policy.step_pages.step():
            result = self.trainer.step(self.step, learning_rate(self.step, train))
        self.updated = self.step
        metrics = {**result.metrics, **self.notes}
        self.notes.clear()
        metrics |= resources(max(0.0, compute_clock(self.on_gpu) - began), self.on_gpu)
        evaluation_due = self.budget.spend(metrics)
        if result.rollouts:
            self.folder.write_rollouts(self.step, result.rollouts)
        self.alarms = []
        if evaluation_due or (train.eval_every and self.step % train.eval_every == 0):
            metrics |= self._evaluate()
        log.step(self.step, metrics)
        self.patience.add(metrics)
        if self.patience.at_end:
            log.say(f"step {self.step}: the last {train.patience} evaluations were not better: training ends")
        for alarm in self.alarms:
            log.say(f"alarm at step {self.step}: {alarm}")
        stretch = self.idle.add({"step": self.step, **metrics})
        if stretch is not None and stretch.last == stretch.first + LASTING - 1:
            log.say(str(stretch))
        if not self.on_gpu and (line := self.threads.look()):
            log.say(f"step {self.step}: {line}")
        if self.best.offer(self.step, metrics) or (train.checkpoint_every and self.step % train.checkpoint_every == 0):
            self._checkpoint(self.step)

    def _evaluate(self) -> dict[str, Any]:
        """`eval/<name>` of the held-out pages, and how long that took."""
        began = time.monotonic()
        self.trainer.sync_engine()
        measured = {**self.evaluate(self.step), **self.trainer.measure()}
        self.alarms = measured.get("alarms", [])
        metrics = {f"eval/{name}": value for name, value in measured.items()}
        return metrics | {"time/evaluate": round(time.monotonic() - began, 3)}

    def _checkpoint(self, step: int) -> None:
        """Save the current weights as those of `step`."""

        def save(folder: Path) -> None:
            trainer = self.trainer
            if self.policy.shards is not None:
                folder = Path(distributed.of_first(lambda: str(folder)))
            save_checkpoint(folder, self.policy, trainer.optimizer, self.recipe, self.pages, step, trainer.state)
            if distributed.first():
                trainer.save(folder)

        if distributed.first() or self.policy.shards is None:
            self.folder.write_checkpoint(step, save, self.recipe.train.keep_checkpoints, spare=self.best.step)
        else:  # its part of the checkpoint that the first process writes
            save(self.folder.checkpoint(step))
        if step == self.best.step:
            self.best.publish()
        self.saved = step

    def _stopped(self, error: Exception) -> TrainingStoppedError:
        """Why training cannot continue. The step before is saved first, if the weights are still those of that step."""
        if isinstance(error, FloatingPointError):  # the weights are broken, and not worth saving
            return TrainingStoppedError(
                f"step {self.step}: {error}: the update of step {self.updated} broke the weights. "
                "Use a checkpoint from before it, if there is one, and try a lower train.learning_rate"
            )
        self._save_step_before()
        engine = "the engine failed in " if isinstance(error, EngineError) else ""
        return TrainingStoppedError(f"{engine}step {self.step}: {error}")

    def _save_step_before(self) -> None:
        """If the weights are still those of the step before, and that is not saved yet."""
        before = self.step - 1
        if not self.alone and self.saved < before and updates_made(self.trainer.optimizer) == self.updates:
            self._checkpoint(before)

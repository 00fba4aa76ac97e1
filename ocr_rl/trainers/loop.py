"""What every algorithm shares: the loop over steps with its checkpoints and evaluations, optimiser, schedule, log."""

from __future__ import annotations

import math
import resource
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn
from tqdm import tqdm

from ocr_rl import distributed
from ocr_rl.config.loader import to_toml
from ocr_rl.config.schema import Recipe, TrainConfig
from ocr_rl.errors import EngineFailed
from ocr_rl.models.policy import Policy
from ocr_rl.runs.best_step import BestStep
from ocr_rl.runs.budget import Budget
from ocr_rl.runs.folder import RunFolder
from ocr_rl.runs.resume import Start
from ocr_rl.trainer_state import NOTHING, Extras, load_checkpoint, save_checkpoint
from ocr_rl.training.resources import compute_clock
from ocr_rl.types import Page

Item = TypeVar("Item")
Evaluate = Callable[[], Mapping[str, Any]]

ECHO_S = 2.0
"""Seconds within which two Ctrl-C may be one, told by the terminal and by a launcher."""


class TrainingStopped(Exception):
    """Training cannot go on; what was saved is intact. The message says what happened and what to try."""


class StepResult(NamedTuple):
    """What a step has to tell."""

    metrics: Mapping[str, float | None]
    rollouts: Sequence[Mapping[str, Any]] = ()
    """Rows for rollouts/step_NNNNNN.jsonl; none: no file."""


class Method(ABC):
    """What an algorithm adds to the loop. Made from the policy that the run begins with."""

    optimizer: torch.optim.Optimizer
    extras: Extras = NOTHING
    """What trains beside the policy, saved and loaded with it."""

    @abstractmethod
    def start(self, done: int) -> None:
        """Go on after step `done`; weights and optimiser are as they were then."""

    @abstractmethod
    def step(self, step: int, rate: float) -> StepResult:
        """Train on one batch, at this learning rate.

        Raises:
            TrainingStopped: the update cannot be made; the weights are those of before.
            FloatingPointError: the policy's weights are broken.
        """

    def measure(self) -> Mapping[str, float | None]:
        """What it has to tell of held-out pages, beside how well they are transcribed."""
        return {}

    def save(self, folder: Path) -> None:  # noqa: B027
        """Add to a checkpoint what those need who use it."""

    def settle(self) -> None:  # noqa: B027 - not every algorithm generates
        """Give the engine the policy's current weights."""

    def close(self) -> None:  # noqa: B027
        """Give back what was taken for training."""


def run_steps(
    method: Method,
    policy: Policy,
    pages: Sequence[Page],
    recipe: Recipe,
    run: RunFolder,
    evaluate: Evaluate,
    start: Start | None = None,
) -> None:
    """Train `policy` in place on `pages` until the budget is used up, recipe.train.steps at most, logging to `run`.

    `evaluate` scores held-out pages; it is called every train.eval_every steps, and where the budget says. A step that
    is the best so far by train.keep_best is saved at once. With `start`, go on from there as if the run had never
    stopped. Of several processes each calls this; all end after the same step.

    Raises:
        TrainingStopped: a loss or gradient is not finite, or the engine is gone. The last checkpoint is from before
            that step.
    """
    train = recipe.train
    done = start.step if start is not None else 0
    if start is not None:
        if start.checkpoint is not None:
            load_checkpoint(start.checkpoint, policy, method.optimizer, pages, done, method.extras)
        distributed.of_first(lambda: run.rewind(done, to_toml(recipe)))
    method.start(done)
    best = BestStep(run, train.keep_best)
    run.prune(done, train.keep_checkpoints, spare=best.step)  # a run that was killed may have had no time to
    budget = Budget(recipe, [logged.metrics for logged in run.logged()])
    on_gpu = policy.device.type == "cuda"
    saved = done

    def checkpoint(step: int) -> int:
        def save(folder: Path) -> None:
            save_checkpoint(folder, policy, method.optimizer, recipe, pages, step, method.extras)
            method.save(folder)

        run.write_checkpoint(step, save, train.keep_checkpoints, spare=best.step)
        if step == best.step:
            best.publish()
        return step

    step = last_update = done
    with stop_after_step() as asked_to_stop, Log(run, train, done) as log, closing(method):
        try:
            while not budget.used_up:
                step += 1
                began, updates = compute_clock(on_gpu), updates_made(method.optimizer)
                torch.manual_seed(step_seed(step, train.seed))
                result = method.step(step, learning_rate(step, train))
                last_update = step
                metrics = dict(result.metrics)
                metrics |= resources(max(0.0, compute_clock(on_gpu) - began), on_gpu)
                halfway = budget.spend(metrics)
                if result.rollouts:
                    run.write_rollouts(step, result.rollouts)
                if halfway or (train.eval_every and step % train.eval_every == 0):
                    began = time.monotonic()
                    method.settle()
                    measured = {**evaluate(), **method.measure()}
                    metrics |= {f"eval/{name}": value for name, value in measured.items()}
                    metrics["time/evaluate"] = round(time.monotonic() - began, 3)
                log.step(step, metrics)
                if best.offer(step, metrics) or (train.checkpoint_every and step % train.checkpoint_every == 0):
                    saved = checkpoint(step)
                if distributed.any_of(bool(asked_to_stop)):
                    break
        except (TrainingStopped, EngineFailed) as stop:
            distributed.tell(stop)
            if saved < step - 1 and updates_made(method.optimizer) == updates:
                checkpoint(step - 1)
            where = f"the engine failed in step {step}" if isinstance(stop, EngineFailed) else f"step {step}"
            raise TrainingStopped(f"{where}: {stop}") from None
        except FloatingPointError as error:  # the weights are broken, and not worth saving
            distributed.tell(error)
            raise TrainingStopped(
                f"step {step}: {error}: the update of step {last_update} broke the weights. "
                "Use a checkpoint from before it, if there is one, and try a lower train.learning_rate"
            ) from None
        if saved < step:
            checkpoint(step)
        method.settle()


def updates_made(optimizer: torch.optim.Optimizer) -> float:
    """Steps of the optimiser until now: a batch that stops after the first of its updates has changed the weights."""
    state: dict[str, Any] = next(iter(optimizer.state.values()), {})
    return float(state.get("step", 0))


def resources(seconds: float, on_gpu: bool) -> dict[str, float]:
    """What a step took: CPU seconds of all processes, seconds of the clock with GPUs; the most memory of one."""
    spent = distributed.gather([(seconds, peak_memory(on_gpu))])
    times = [seconds for seconds, _ in spent]
    return {
        "time/compute": round(max(times) if on_gpu else sum(times), 3),
        "peak_memory_mib": max(memory for _, memory in spent),
    }


def peak_memory(on_gpu: bool) -> int:
    """MiB that this process has held at most: of the GPU's memory, where there is one."""
    if on_gpu:
        return torch.cuda.max_memory_allocated() >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (20 if sys.platform == "darwin" else 10)


def step_seed(step: int, seed: int) -> int:
    """All that is random in a step follows from this, so that a resumed run draws the same."""
    return seed * 1_000_003 + step


def make_optimizer(parameters: Sequence[nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with float32 state. Raises ValueError if a trained weight has less precision."""
    for parameter in parameters:
        if parameter.dtype != torch.float32:
            raise ValueError(f"trained weights must be float32, found {parameter.dtype}: small steps would round away")
    beta1, beta2 = config.betas
    return torch.optim.AdamW(
        parameters, lr=config.learning_rate, betas=(beta1, beta2), weight_decay=config.weight_decay, fused=True
    )


def learning_rate(step: int, config: TrainConfig) -> float:
    """Rate of a step (1-based): a linear warm-up, then constant, or linear or cosine to 0 after the last step."""
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    done = (step - 1 - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    shape = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return config.learning_rate * shape[config.schedule]


def guarded_step(
    optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], rate: float, max_norm: float
) -> float:
    """Sum the gradients over the processes, clip them to `max_norm`, step, and clear them.

    Returns the norm before clipping.

    Raises:
        TrainingStopped: the gradient is not finite; the weights are left as they were.
    """
    distributed.sum_gradients(parameters)
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, max_norm))
    if not math.isfinite(norm):
        optimizer.zero_grad(set_to_none=True)
        raise TrainingStopped(
            f"the gradient norm is {norm}; the weights before this update are kept. "
            "Try a lower train.learning_rate, or model.compute_dtype = float32"
        )
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_factor", 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm


def epochs(items: Sequence[Item], size: int, seed: int) -> Iterator[list[Item]]:
    """Endless batches of `size` items, each epoch in its own seeded order; a batch may span two epochs."""
    batch: list[Item] = []
    epoch = 0
    while True:
        order = list(items)
        Random(f"{seed}:{epoch}").shuffle(order)
        for item in order:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
        epoch += 1


@contextmanager
def stop_after_step() -> Iterator[list[bool]]:
    """Ctrl-C sets the flag that it yields, for the trainer to finish its step; a second Ctrl-C interrupts.

    A launcher passes the Ctrl-C on that its processes have had already: with several, one that follows at once is none.
    """
    asked: list[bool] = []
    at = 0.0

    def ask(_signal: int, _frame: FrameType | None) -> None:
        nonlocal at
        if asked and distributed.count() > 1 and time.monotonic() - at < ECHO_S:
            return
        if asked:
            raise KeyboardInterrupt
        asked.append(True)
        at = time.monotonic()
        if distributed.first():
            tqdm.write("stopping after this step; Ctrl-C again to stop now", file=sys.stderr)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


class Log:
    """One line per step in metrics.jsonl, a progress bar, and TensorBoard or W&B where asked for: by the first process.

    `done` steps are in metrics.jsonl already, and time goes on from theirs. W&B gets a run of its own each time.
    """

    def __init__(self, run: RunFolder, config: TrainConfig, done: int = 0) -> None:
        seconds = run.logged()[done - 1].metrics["time_s"] if done else 0.0
        self.run, self.began = run, time.monotonic() - seconds
        quiet = not distributed.first()
        self.bar = tqdm(total=config.steps or None, initial=done, unit="step", dynamic_ncols=True, disable=quiet)
        self.tensorboard: Any = None
        self.wandb: Any = None
        if config.tensorboard and distributed.first():
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                pass
            else:
                self.tensorboard = SummaryWriter(  # type: ignore[no-untyped-call]
                    str(run.path / "tensorboard"),
                    purge_step=done + 1,  # hides what an interrupted run wrote after its checkpoint
                )
        if config.wandb and distributed.first():
            import wandb

            self.wandb = wandb.init(project="ocr-rl", name=run.path.name, dir=str(run.path))

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        if self.tensorboard is not None:
            self.tensorboard.close()
        if self.wandb is not None:
            self.wandb.finish()

    def step(self, step: int, metrics: Mapping[str, Any]) -> None:
        seconds = round(time.monotonic() - self.began, 3)
        self.run.log({"step": step, "time_s": seconds} | dict(metrics))
        if self.tensorboard is not None:
            for name, value in metrics.items():
                if isinstance(value, (int, float)):
                    self.tensorboard.add_scalar(name, value, step)
        if self.wandb is not None:
            self.wandb.log(dict(metrics), step=step)
        shown = {"reward": "reward", "pass": "pass_rate", "cer": "cer", "tok/s": "tokens_per_s"}
        self.bar.set_postfix(
            {label: f"{metrics[name]:.3g}" for label, name in shown.items() if metrics.get(name) is not None}
        )
        self.bar.update(1)

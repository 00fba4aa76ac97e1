"""What every trainer shares: the optimiser, its schedule and guarded step, stopping cleanly, and the log."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import nn
from tqdm import tqdm

from ocr_rl.config import TrainConfig
from ocr_rl.run_folder import RunFolder

Item = TypeVar("Item")


class TrainingStopped(Exception):
    """Training cannot go on; what was saved is intact. The message says what happened and what to try."""


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
    """Clip the gradients to `max_norm`, step, and clear them. Returns the norm before clipping.

    Raises:
        TrainingStopped: the gradient is not finite; the weights are left as they were.
    """
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, max_norm))
    if not math.isfinite(norm):
        optimizer.zero_grad(set_to_none=True)
        raise TrainingStopped(
            f"the gradient norm is {norm}; the weights before this update are kept. "
            "Try a lower train.learning_rate, or model.compute_dtype = float32"
        )
    for group in optimizer.param_groups:
        group["lr"] = rate
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
    """Ctrl-C sets the flag that it yields, for the trainer to finish its step; a second Ctrl-C interrupts."""
    asked: list[bool] = []

    def ask(_signal: int, _frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(True)
        tqdm.write("stopping after this step; Ctrl-C again to stop now", file=sys.stderr)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


class Log:
    """One line per step in metrics.jsonl, a progress bar, and TensorBoard or W&B where asked for.

    `done` steps are in metrics.jsonl already, and time goes on from theirs. W&B gets a run of its own each time.
    """

    def __init__(self, run: RunFolder, config: TrainConfig, done: int = 0) -> None:
        seconds = run.logged()[done - 1].metrics["time_s"] if done else 0.0
        self.run, self.began = run, time.monotonic() - seconds
        self.bar = tqdm(total=config.steps, initial=done, unit="step", dynamic_ncols=True)
        self.tensorboard: Any = None
        self.wandb: Any = None
        if config.tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                pass
            else:
                self.tensorboard = SummaryWriter(  # type: ignore[no-untyped-call]
                    str(run.path / "tensorboard"),
                    purge_step=done + 1,  # hides what an interrupted run wrote after its checkpoint
                )
        if config.wandb:
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

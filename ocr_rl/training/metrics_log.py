"""The log of a run: metrics.jsonl, TensorBoard and Weights & Biases."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from ocr_rl import distributed
from ocr_rl.config.schema import TrainConfig
from ocr_rl.runs.folder import RunFolder


class Log:
    """One line per step in metrics.jsonl, a progress bar, and TensorBoard or W&B if the recipe says so.

    Only the first process writes. `done` steps are already in metrics.jsonl, and the time continues from theirs. W&B
    gets a new run each time.
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

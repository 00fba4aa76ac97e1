"""Where an interrupted run continues: at its newest usable checkpoint, with its own recipe.

A checkpoint is usable if all its files are complete, and metrics.jsonl has all lines up to its step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocr_rl.config.loader import load_recipe
from ocr_rl.config.schema import Recipe
from ocr_rl.runs.budget import Budget
from ocr_rl.runs.folder import RunFolder, step_of
from ocr_rl.runs.patience import Patience

RECIPE = Path("trainer", "recipe.toml")
"""In a checkpoint: the recipe that it was trained by."""

MAY_CHANGE = (
    "train.steps",
    "train.eval_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.patience",
    "train.shard",
    "train.offload",
    "train.watch",
    "train.stop_on_alarm",
    "train.tensorboard",
    "train.wandb",
    "budget.pages",
    "budget.completions",
    "budget.seconds",
    "budget.evaluations",
    "reward.processes",
    "vllm.server",
    "vllm.transfer",
    "vllm.transfer_folder",
    "rollout.readers",
)
"""Keys that a resumed run may change: none of them affects a step that was done."""


@dataclass(frozen=True)
class ResumePoint:
    """Where a resumed run continues."""

    recipe: Recipe
    step: int
    """The last step that is kept; 0: the run had saved no step and starts over."""
    checkpoint: Path | None
    passed_over: Sequence[str]
    """What is wrong with the newer checkpoints, which are not used."""
    allow_removed_pages: bool = False
    """Whether pages may have been removed from the dataset since."""


def find_resume_point(run: RunFolder, overrides: Sequence[str] = ()) -> ResumePoint | None:
    """None if the run is finished: all steps done, or its patience at an end, and evaluated afterwards.

    Raises:
        ValueError: the recipe differs from the one that the run was trained with, or there are checkpoints, but
            none is usable.
    """
    resolved = run.path / "resolved.toml"
    recipe = load_recipe(str(resolved), list(overrides))
    refuse_changes(load_recipe(str(resolved)), recipe, resolved)
    done = [logged.metrics for logged in run.logged()]
    at_start = run.read_eval("start")
    patience = Patience(recipe.train, [*filter(None, [at_start]), *done])
    if run.evaluated() and (Budget(recipe, done).used_up or patience.at_end):
        return None
    checkpoint, passed_over = newest_usable(run)
    if checkpoint is not None:
        refuse_changes(load_recipe(str(checkpoint / RECIPE)), recipe, checkpoint / RECIPE)
    return ResumePoint(recipe, step_of(checkpoint) if checkpoint else 0, checkpoint, passed_over)


def newest_usable(run: RunFolder) -> tuple[Path | None, list[str]]:
    """The newest usable checkpoint, None if none was ever saved, and what is wrong with the newer ones."""
    logged = len(run.logged())
    passed_over: list[str] = []
    for checkpoint in reversed(run.checkpoints()):
        trouble = run.damage(checkpoint)
        if trouble is None and logged < step_of(checkpoint):
            trouble = f"{run.metrics}:{logged + 1}: the line of step {logged + 1} is missing or damaged"
        if trouble is None:
            return checkpoint, passed_over
        passed_over.append(trouble)
    if any(step_of(checkpoint) for checkpoint in run.checkpoints()):
        raise ValueError(
            f"{passed_over[0]}, and no other checkpoint is usable. Restore it, or start another run: "
            f"ocr-rl train {run.path / 'resolved.toml'} --out ANOTHER"
        )
    return None, passed_over  # of step 0 at most: the start is made again


def refuse_changes(trained: Recipe, wanted: Recipe, source: Path) -> None:
    """Raises ValueError for the first key that affects the result and differs, and for a run made shorter."""
    new = dict(_keys(wanted))
    for key, value in _keys(trained):
        where = f"{key} is {value!r} in {source} and cannot become {new[key]!r}"
        if key not in MAY_CHANGE and value != new[key]:
            raise ValueError(f"{where}: --resume keeps what affects the result; start another run to change it")
        if (
            key == "train.patience"
            and trained.train.chooses != wanted.train.chooses
            and trained.data.evaluate == "test"
        ):
            raise ValueError(f"{where}: with data.evaluate = test, it decides which pages were evaluated")
        if key == "train.steps" and new[key] < value:
            raise ValueError(f"{where}: a run can be made longer, not shorter")
        if key == "train.steps" and new[key] > value and trained.train.schedule != "constant":
            raise ValueError(f'{where}: the rates of train.schedule "{trained.train.schedule}" depend on it')


def _keys(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """("train.steps", 60) and so on."""
    for name, section in vars(recipe).items():
        if dataclasses.is_dataclass(section):
            yield from ((f"{name}.{key}", value) for key, value in vars(section).items())
        else:
            yield name, section

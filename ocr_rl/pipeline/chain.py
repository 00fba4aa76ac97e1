"""A chain of recipes: a folder with a run for each stage, which continues with the policy of the one before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ocr_rl import distributed
from ocr_rl.config.chains import Chain, chain_to_toml, limited, load_chain
from ocr_rl.config.schema import BudgetConfig, Recipe
from ocr_rl.pipeline import train as training
from ocr_rl.runs.atomic import write_atomically
from ocr_rl.runs.folder import RunFolder
from ocr_rl.runs.resume import find_resume_point

CHAIN = "chain.toml"
"""In the folder of a chain: its stages with every default, as they were started."""


def train_chain(
    chain: Chain, out: str | Path, *, overwrite: bool = False, say: Callable[[str], None] = print
) -> list[RunFolder]:
    """Train the stages one after another, each into a run folder of its own within `out`.

    Raises:
        ValueError: a recipe, its pages or its model cannot be used, or `out` holds files already.
        TrainingStoppedError: training cannot continue; what was saved is kept for `resume_chain`.
    """
    out = Path(out)
    replaced = _replaced(out)
    with distributed.together():
        distributed.of_first(lambda: _create(out, replaced, chain, overwrite))
        try:
            runs = _run(out, chain, say)
        except BaseException:
            if (
                distributed.first() and not (out / chain.stages[0].name / "resolved.toml").is_file()
            ):  # nothing was begun
                shutil.rmtree(out)
                if replaced.exists():
                    os.replace(replaced, out)
            raise
        finally:
            if distributed.first() and is_chain(out):
                shutil.rmtree(replaced, ignore_errors=True)
        return runs


def resume_chain(out: str | Path, *, say: Callable[[str], None] = print) -> list[RunFolder]:
    """Train what a chain still lacks, as if it had never been interrupted.

    Raises:
        ValueError, TrainingStoppedError: as `train_chain` and `ocr_rl.pipeline.train.resume` do.
    """
    with distributed.together():
        out = Path(out)
        runs = _run(out, load_chain(out / CHAIN), say)
        if distributed.first():
            shutil.rmtree(_replaced(out), ignore_errors=True)
        return runs


def show_costs(
    chain: Chain, say: Callable[[str], None] = print, gpus: int | None = None, gpu_memory: float | None = None
) -> None:
    """The dry run of the first stage, and the pages of the others, whose policies do not exist yet.

    Raises:
        ValueError: as `ocr_rl.pipeline.train.show_costs`; or a later stage has no pages to train on.
    """
    first, *others = chain.stages
    training.show_costs(limited(first.recipe, chain.budget, BudgetConfig()), say, gpus, gpu_memory)
    for stage in others:
        train, held_out = training.pages_of(stage.recipe, say)
        say(f"{stage.name}: {train} pages to train on, {held_out} held out")


def is_chain(folder: Path) -> bool:
    """Whether `train_chain` wrote it."""
    return (folder / CHAIN).is_file()


def _replaced(out: Path) -> Path:
    """Where the chain that `out` replaces is kept until the new one has begun."""
    return out.with_name(f"{out.name}.replaced")


def _create(out: Path, replaced: Path, chain: Chain, overwrite: bool) -> None:
    """A folder with the chain's file; a chain that it replaces is kept beside it until the first stage is trained."""
    if out.is_dir() and any(out.iterdir()) and not (overwrite and is_chain(out)):
        what = "a chain" if is_chain(out) else "files"
        raise ValueError(f"{out} holds {what} already; give another --out, or --overwrite to replace a chain")
    if is_chain(out):
        shutil.rmtree(replaced, ignore_errors=True)
        os.replace(out, replaced)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / CHAIN, chain_to_toml(chain))


def _run(out: Path, chain: Chain, say: Callable[[str], None]) -> list[RunFolder]:
    runs: list[RunFolder] = []
    before = ""
    for stage in chain.stages:
        path, recipe = out / stage.name, limited(stage.recipe, chain.budget, _spent(runs))
        if runs:
            recipe = replace(recipe, model=replace(recipe.model, path=before))
        if distributed.first():
            say(f"stage {stage.name} of {len(chain.stages)}")
        if distributed.of_first((path / "resolved.toml").is_file):
            run = training.resume(path, say=say)
        else:
            run = training.train(recipe, path, say=say)
        if distributed.of_first(lambda run=run: find_resume_point(run) is not None):  # type: ignore[misc]
            if distributed.first():
                say(f"stopped in stage {stage.name}; continue with: ocr-rl train --resume {out}")
            return [*runs, run]
        runs.append(run)
        before = _result(run, recipe)
    return runs


def _spent(runs: Sequence[RunFolder]) -> BudgetConfig:
    """What the stages so far have used."""
    rows = [logged.metrics for run in runs for logged in run.logged()]

    def total(name: str) -> float:
        return sum(row.get(name) or 0 for row in rows)

    return BudgetConfig(
        pages=int(total("pages")), completions=int(total("completions")), seconds=float(total("time/compute"))
    )


def _result(run: RunFolder, recipe: Recipe) -> str:
    """What the next stage continues with: the best checkpoint if the recipe keeps it, else the last.

    A stage of no steps hands on what it started from.
    """
    best, checkpoints = run.best(), run.checkpoints()
    if best is not None:
        return str(run.checkpoint(best["step"]))
    return str(checkpoints[-1]) if checkpoints else recipe.model.path

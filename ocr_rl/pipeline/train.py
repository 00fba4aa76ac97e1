"""Training by a recipe, or from where an interrupted run stopped: `ocr-rl train`. Torch is loaded after the checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ocr_rl import distributed
from ocr_rl.config.loader import check_model_path, to_toml
from ocr_rl.config.schema import Recipe
from ocr_rl.rewards.reward_function import make_rubric
from ocr_rl.runs.folder import ReadOnlyRunFolder, RunFolder
from ocr_rl.runs.function_record import record_functions
from ocr_rl.runs.resume import find_resume_point
from ocr_rl.runs.scratch import Scratch
from ocr_verifiers.rewards.functions import function_digests

if TYPE_CHECKING:
    from ocr_rl.pipeline.job import Job

Say = Callable[[str], None]
"""Called with what a user should know; with several processes only in the first one."""


def train(recipe: Recipe, out: str | Path, *, overwrite: bool = False, say: Say = print) -> RunFolder:
    """Train by the recipe into a new run folder `out`; with `overwrite` it may replace a run.

    If something is wrong before the first step, there is no run folder, or the one that was to be replaced is back.

    Raises:
        ValueError: the recipe, its pages or its model cannot be used, or `out` holds files already.
        TrainingStoppedError: training cannot continue; what was saved is kept for `resume`.
    """
    with distributed.together():
        _check(recipe)
        from ocr_rl.pipeline.run import run  # without torch this fails before anything is written

        say = _of_first(say)
        created = distributed.of_first(lambda: RunFolder.create(Path(out), to_toml(recipe), overwrite=overwrite))
        folder = _as_seen_here(created)
        with folder.locked():
            try:
                job = _prepare(recipe, folder.path, say)
                distributed.wait()
            except BaseException:
                folder.rollback()
                raise
            folder.commit()
            _record_functions(recipe, folder, 0, say)
            run(job, folder, say)
        return folder


def resume(
    path: str | Path, overrides: Sequence[str] = (), *, allow_removed_pages: bool = False, say: Say = print
) -> RunFolder:
    """Train the rest of the interrupted run in `path`, by its own recipe, as if it had never stopped.

    `overrides` ("train.steps=100") can make the run longer (`runs.resume.MAY_CHANGE`). A finished run is left alone.
    With `allow_removed_pages`, pages may have been removed from the dataset since; the log says how many.

    Raises:
        ValueError: `path` holds no run, an override changes the steps that are done, or no checkpoint is usable.
        TrainingStoppedError: training cannot continue; what was saved is kept.
    """
    with distributed.together():
        folder = _as_seen_here(RunFolder.open(Path(path)))
        say = _of_first(say)
        with folder.locked():
            start = distributed.of_first(lambda: find_resume_point(folder, overrides))
            if start is None:
                _write_missing_report(folder, say)
                say(f"{path} is finished; --steps N, more budget or patience makes it longer")
                return folder
            start = replace(start, allow_removed_pages=allow_removed_pages)
            _check(start.recipe)
            from ocr_rl.pipeline.run import run

            job = _prepare(start.recipe, folder.path, say)
            folder.commit()
            _record_functions(start.recipe, folder, start.step, say)
            run(job, folder, say, start)
        return folder


def show_costs(recipe: Recipe, say: Say = print, gpus: int | None = None, gpu_memory: float | None = None) -> None:
    """Say what memory a run would take, then do some of one step for its tokens and time. Nothing is written.

    With `gpus`, or `gpu_memory` in GB, the plan is for such a machine and nothing is loaded. Nor is it where the run
    would not fit. Several processes are planned for as they are, and compute together.

    Raises:
        ValueError: the recipe, its pages or its model cannot be used.
    """
    _check(recipe)
    from ocr_rl.pipeline.dry_run import dry_run
    from ocr_rl.pipeline.job import prepare
    from ocr_rl.pipeline.memory_plan import planned_machine, say_plan
    from ocr_rl.pipeline.pages import collect_pages

    say = _of_first(say)
    with closing(Scratch("dry-run")) as scratch:
        pages = collect_pages(recipe, _shared(scratch) / "pages", say)
        machine = planned_machine(gpus, gpu_memory, distributed.count(), distributed.on_this_machine())
        fits = distributed.of_first(lambda: say_plan(recipe, pages, machine, say))
        if fits and gpus is None and gpu_memory is None:
            dry_run(prepare(recipe, pages, say), say)
        distributed.wait()  # the pages are in the first process's folder


def pages_of(recipe: Recipe, say: Say = print) -> tuple[int, int]:
    """How many pages a run would train on and hold out. Raises ValueError if it cannot use them."""
    from ocr_rl.pipeline.job import divided
    from ocr_rl.pipeline.pages import collect_pages

    with closing(Scratch("dry-run")) as scratch:
        train, held_out = divided(recipe, collect_pages(recipe, _shared(scratch) / "pages", say))
        distributed.wait()
    return len(train), len(held_out)


def _shared(scratch: Scratch) -> Path:
    """The folder of the first process."""
    return distributed.of_first(lambda: scratch.path)


def _check(recipe: Recipe) -> None:
    """What can be checked before pages are drawn and torch is loaded. Raises ValueError."""
    check_model_path(recipe.model.path)
    make_rubric(recipe.reward)


def _prepare(recipe: Recipe, folder: Path, say: Say) -> Job:
    from ocr_rl.pipeline.job import prepare
    from ocr_rl.pipeline.pages import collect_pages

    pages = collect_pages(recipe, folder / "pages", say)
    return prepare(recipe, pages, say, log=folder / "vllm.log")


def _record_functions(recipe: Recipe, folder: RunFolder, step: int, say: Say) -> None:
    """Keep the digests of the code of reward.functions in the run folder; say whose code has changed."""
    if recipe.reward.functions and distributed.first():
        for name in record_functions(folder.path, function_digests(recipe.reward.functions), step):
            say(f"{name} has changed since the run began: the rewards after step {step} are those of the new code")


def _write_missing_report(folder: RunFolder, say: Say) -> None:
    """The run was killed after its last step, before its report was written."""
    if distributed.first() and not (folder.path / "report.html").exists():
        from ocr_rl.reporting.run_report import close_with_report

        close_with_report(folder, say)


def _as_seen_here(folder: RunFolder) -> RunFolder:
    """The first process writes, the others read."""
    return folder if distributed.first() else ReadOnlyRunFolder(folder.path)


def _of_first(say: Say) -> Say:
    return say if distributed.first() else lambda message: None

"""`ocr-rl train`: a recipe becomes a run, or an interrupted run goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ocr_rl.cli.errors import fail, user_errors
from ocr_rl.cli.options import data_overrides, dataset_options

if TYPE_CHECKING:
    from ocr_rl.runs.folder import RunFolder


@click.command()
@click.argument("recipe", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder. Default: runs/RECIPE-TIME.")
@click.option("--data", metavar="PATH", help="Folder, file or hub id of a dataset (data.path).")
@click.option("--model", metavar="PATH", help='Folder or hub id of a policy, or "tiny" (model.path).')
@dataset_options
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Override a recipe's value.")
@click.option("--steps", type=click.IntRange(min=0), help="Short for --set train.steps=N.")
@click.option("--seed", type=int, help="Short for --set train.seed=N.")
@click.option("--engine", help="Short for --set rollout.engine=auto|transformers|vllm.")
@click.option("--dry-run", is_flag=True, help="Check everything, print tokens, memory and time, and stop.")
@click.option("--overwrite", is_flag=True, help="Replace the run that --out holds.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Go on with an interrupted run, by its own recipe, as if it had never stopped.",
)
@user_errors
def train(
    recipe: str | None,
    out: Path | None,
    data: str | None,
    model: str | None,
    where: tuple[str, ...],
    columns: tuple[str, ...],
    split: str | None,
    overrides: tuple[str, ...],
    steps: int | None,
    seed: int | None,
    engine: str | None,
    dry_run: bool,
    overwrite: bool,
    resume: Path | None,
) -> None:
    """Train a policy by RECIPE (default: grpo), a shipped name or a TOML file.

    \b
    ocr-rl train
    ocr-rl train --data scans/ --model allenai/olmOCR-2-7B-1025 --set model.lora_rank=64 --dry-run
    ocr-rl train grpo-paper --out runs/paper --steps 100 --seed 1
    ocr-rl train my.toml --data lines/ --where level=line --where source=ehri-en
    ocr-rl train --resume runs/paper
    torchrun --nproc-per-node 8 -m ocr_rl.cli train my.toml --out runs/a
    """
    from ocr_rl import distributed
    from ocr_rl.config.loader import as_overrides

    with distributed.together():
        overrides += data_overrides(data, split, model, columns, where)
        overrides += tuple(as_overrides({"train.steps": steps, "train.seed": seed, "rollout.engine": engine}))
        if resume is None:
            new_run(recipe or "grpo", overrides, out, dry_run, overwrite)
            return
        given = {"RECIPE": recipe, "--out": out, "--dry-run": dry_run, "--overwrite": overwrite}
        for name in [name for name, value in given.items() if value]:
            raise ValueError(f"--resume RUN goes on in RUN by its own recipe; leave out {name}")
        resume_run(resume, overrides)


def new_run(recipe: str, overrides: Sequence[str], out: Path | None, dry_run: bool, overwrite: bool) -> None:
    from ocr_rl import distributed
    from ocr_rl.config.loader import check_model_path, load_recipe

    loaded = load_recipe(recipe, list(overrides))
    check_model_path(loaded.model.path)
    if dry_run and distributed.count() > 1:
        raise ValueError("--dry-run tells of one process; leave out the launcher")
    out = out or Path("runs") / f"{Path(recipe).stem}-{time.strftime('%Y%m%d-%H%M%S')}"

    import tempfile

    from ocr_rl.errors import TrainingStoppedError
    from ocr_rl.pipeline.dry_run import dry_run as show_costs
    from ocr_rl.pipeline.job import prepare
    from ocr_rl.pipeline.pages import collect_pages
    from ocr_rl.pipeline.run import run, write_recipe

    if dry_run:
        with tempfile.TemporaryDirectory() as scratch:
            pages = collect_pages(loaded.data, loaded.render, Path(scratch) / "pages")
            show_costs(prepare(loaded, pages))
        return
    folder = seen_by(distributed.of_first(lambda: write_recipe(loaded, out, overwrite)))
    with folder.locked():
        try:
            pages = collect_pages(loaded.data, loaded.render, folder.path / "pages")
            job = prepare(loaded, pages, say, log=folder.path / "vllm.log")
            distributed.wait()
        except BaseException:
            folder.rollback()
            raise
        folder.commit()
        try:
            run(job, folder, say)
        except TrainingStoppedError as stop:
            stopped(stop, folder)


def resume_run(path: Path, overrides: Sequence[str]) -> None:
    """The rest of an interrupted run. A finished one says so."""
    from ocr_rl import distributed
    from ocr_rl.config.loader import check_model_path
    from ocr_rl.runs.folder import RunFolder
    from ocr_rl.runs.resume import find_resume_point

    folder = seen_by(RunFolder.open(path))
    with folder.locked():
        start = distributed.of_first(lambda: find_resume_point(folder, overrides))
        if start is None:
            if distributed.first() and not (path / "report.html").exists():  # killed before it was written
                from ocr_rl.reporting.run_report import close_with_report

                close_with_report(folder, click.echo)
            say(f"{path} is finished; --steps N, or a larger budget, makes it longer")
            return
        recipe = start.recipe
        check_model_path(recipe.model.path)

        from ocr_rl.errors import TrainingStoppedError
        from ocr_rl.pipeline.job import prepare
        from ocr_rl.pipeline.pages import collect_pages
        from ocr_rl.pipeline.run import run

        pages = collect_pages(recipe.data, recipe.render, path / "pages")
        job = prepare(recipe, pages, say, log=path / "vllm.log")
        folder.commit()
        try:
            run(job, folder, say, start)
        except TrainingStoppedError as stop:
            stopped(stop, folder)


def seen_by(folder: RunFolder) -> RunFolder:
    """As this process may use it: the first one writes."""
    from ocr_rl import distributed
    from ocr_rl.runs.folder import ReadOnlyRunFolder

    return folder if distributed.first() else ReadOnlyRunFolder(folder.path)


def say(message: str) -> None:
    from ocr_rl import distributed

    if distributed.first():
        click.echo(message)


def stopped(stop: Exception, folder: RunFolder) -> None:
    from ocr_rl import distributed

    distributed.tell(stop)
    if distributed.first():
        fail(f"{stop}\nrun folder: {folder.path}", code=1)

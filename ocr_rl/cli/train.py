"""`ocr-rl train`: a recipe becomes a run, or an interrupted run is continued."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ocr_rl.cli.errors import fail, user_errors
from ocr_rl.cli.options import RecipeOptions, recipe_options, set_option, writable_folder


@dataclass(frozen=True)
class TrainOptions(RecipeOptions):
    """What is trained, and where the run goes; None for an option that was not given."""

    recipe: str | None
    out: Path | None
    steps: int | None
    seed: int | None
    engine: str | None
    dry_run: bool
    gpus: int | None
    gpu_memory: float | None
    overwrite: bool

    def overrides(self) -> list[str]:
        from ocr_rl.config.loader import as_overrides

        short = {"train.steps": self.steps, "train.seed": self.seed, "rollout.engine": self.engine}
        return [*super().overrides(), *as_overrides(short)]

    def refuse_with_resume(self) -> None:
        """Raises ValueError for an option that contradicts --resume."""
        given: dict[str, object] = {
            "RECIPE": self.recipe,
            "--out": self.out,
            "--dry-run": self.dry_run,
            "--overwrite": self.overwrite,
        }
        given |= {"--gpus": self.gpus, "--gpu-memory": self.gpu_memory}
        for name in [name for name, value in given.items() if value]:
            raise ValueError(f"--resume RUN continues RUN by its own recipe; leave out {name}")

    def refuse_overrides(self) -> None:
        """Raises ValueError for a setting beside --resume of a chain."""
        if overrides := self.overrides():
            raise ValueError(
                f"--resume of a chain continues it as it was started; leave out {overrides[0].partition('=')[0]}. "
                "To make a stage longer, resume its own folder"
            )


@click.command()
@click.argument("recipe", required=False)
@click.option(
    "--out", type=click.Path(path_type=Path), callback=writable_folder, help="Run folder. Default: runs/RECIPE-TIME."
)
@recipe_options
@set_option("Override a value of the recipe.")
@click.option("--steps", type=click.IntRange(min=0), help="Short for --set train.steps=N.")
@click.option("--seed", type=int, help="Short for --set train.seed=N.")
@click.option("--engine", help="Short for --set rollout.engine=auto|transformers|vllm.")
@click.option("--dry-run", is_flag=True, help="Check everything, print tokens, memory and time, and stop.")
@click.option("--gpus", type=click.IntRange(min=1), help="With --dry-run: plan for so many GPUs, and load no model.")
@click.option(
    "--gpu-memory",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GB",
    help="With --dry-run: plan for GPUs of this size, and load no model.",
)
@click.option("--overwrite", is_flag=True, help="Replace the run that --out holds.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Continue an interrupted run, by its own recipe, as if it had never stopped.",
)
@click.option(
    "--allow-removed-pages", is_flag=True, help="With --resume: pages may have been removed from the dataset since."
)
@user_errors
def train(resume: Path | None, allow_removed_pages: bool, **options: Any) -> None:
    """Train a policy by RECIPE (default: grpo), a shipped name or a TOML file.

    \b
    ocr-rl train
    ocr-rl train --data scans/ --model allenai/olmOCR-2-7B-1025 --set model.lora_rank=64 --dry-run
    ocr-rl train grpo-paper --out runs/paper --steps 100 --seed 1
    ocr-rl train my.toml --data lines/ --where level=line --where source=ehri-en
    ocr-rl train few-labels --data scans/ --set stages.1.train.steps=40
    ocr-rl train --resume runs/paper
    torchrun --nproc-per-node 8 -m ocr_rl.cli train my.toml --out runs/a
    """
    from ocr_rl import distributed
    from ocr_rl.config.chains import Chain, load_system
    from ocr_rl.errors import TrainingStoppedError
    from ocr_rl.pipeline import chain
    from ocr_rl.pipeline import train as training

    chosen = TrainOptions(**options)
    name = chosen.recipe or "grpo"
    out = resume or chosen.out or Path("runs") / f"{Path(name).stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    with distributed.together():
        try:
            if resume is not None:
                chosen.refuse_with_resume()
                if chain.is_chain(resume):
                    chosen.refuse_overrides()
                    chain.resume_chain(resume)
                    return
                training.resume(resume, chosen.overrides(), allow_removed_pages=allow_removed_pages)
                return
            if allow_removed_pages:
                raise ValueError("--allow-removed-pages is for --resume RUN")
            if not chosen.dry_run and (chosen.gpus or chosen.gpu_memory):
                raise ValueError("--gpus and --gpu-memory are for --dry-run; `torchrun --nproc-per-node N` starts N")
            system = load_system(name, chosen.overrides())
            if isinstance(system, Chain):
                if chosen.dry_run:
                    chain.show_costs(system, gpus=chosen.gpus, gpu_memory=chosen.gpu_memory)
                else:
                    chain.train_chain(system, out, overwrite=chosen.overwrite)
            elif chosen.dry_run:
                training.show_costs(system, gpus=chosen.gpus, gpu_memory=chosen.gpu_memory)
            else:
                training.train(system, out, overwrite=chosen.overwrite)
        except TrainingStoppedError as stop:
            distributed.announce_failure(stop)
            if distributed.first():
                fail(f"{stop}\nrun folder: {out}", code=1)

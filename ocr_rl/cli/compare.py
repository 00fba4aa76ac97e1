"""`ocr-rl compare`: which algorithm is best for these pages, under one budget."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ocr_rl.cli.errors import fail, user_errors
from ocr_rl.cli.options import data_overrides, dataset_options

OWN = "own"
"""In place of rates: each recipe keeps its own."""


@click.command()
@click.option("--recipe", "recipes", required=True, metavar="A,B,...", help="Names or TOML files of recipes.")
@click.option("--seeds", default="0,1,2", show_default=True, metavar="N,N,...", help="A run of each recipe for each.")
@click.option(
    "--budget",
    default="completions=15360",
    show_default=True,
    metavar="WHAT=N",
    help="Of each run: pages=N read, completions=N sampled, or minutes=N of compute. A recipe that samples nothing "
    "(sft, or pairs from a file) gets the compute of the run that all are compared with.",
)
@click.option(
    "--rates",
    default="3e-5,1e-4,3e-4",
    show_default=True,
    metavar=f"R,R,...|{OWN}",
    help="Learning rates to choose among.",
)
@click.option("--tuning-seed", type=int, default=1000, show_default=True, help="Of the runs that choose the rate.")
@click.option(
    "--tuning-share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Of the budget, for each of them.",
)
@click.option("--against", metavar="RECIPE", help="Whom all are compared with.  [default: grpo, or the first]")
@click.option("--evaluations", type=click.IntRange(min=0), default=3, show_default=True, help="On the way of each run.")
@click.option("--data", metavar="PATH", help="Folder, file or hub id of a dataset (data.path).")
@click.option("--model", metavar="PATH", help='Folder or hub id of a policy, or "tiny" (model.path).')
@dataset_options
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Override a value of every recipe.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of all runs and of the results.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Runs at a time, sharing the cores; 1 where they would share a GPU.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be run, and stop.")
@user_errors
def compare(
    recipes: str,
    seeds: str,
    budget: str,
    rates: str,
    tuning_seed: int,
    tuning_share: float,
    against: str | None,
    evaluations: int,
    data: str | None,
    model: str | None,
    where: tuple[str, ...],
    columns: tuple[str, ...],
    split: str | None,
    overrides: tuple[str, ...],
    out: Path,
    jobs: int,
    dry_run: bool,
) -> None:
    """Train several recipes alike and compare them: OUT/compare.html and OUT/compare.json.

    Each recipe is tried at each learning rate on one half of the held-out pages; at the best of them it is trained
    with every seed and evaluated on the other half, on which nothing was chosen. All begin with the same policy and
    see the same collection. The same command goes on where it was stopped; with further recipes or seeds beside the
    old ones it runs what is missing.

    \b
    ocr-rl compare --recipe sft,grpo,rloo,ppo,dpo,kto --out compared/
    ocr-rl compare --recipe grpo,dpo --seeds 0 --budget completions=1024 --rates own --out quick/
    ocr-rl compare --recipe grpo,mine.toml --data scans/ --model org/vlm --budget minutes=60 --out scans-compared/
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" in os.environ:
        raise ValueError("compare starts its runs itself; give the command without a launcher, and --jobs for several")

    from ocr_rl.comparison.plan import Plan, chosen_reference, final_trial, load_recipes, refuse_other_pages
    from ocr_rl.config.loader import check_model_path

    loaded = load_recipes(
        _listed("--recipe", recipes, str), [*overrides, *data_overrides(data, split, model, columns, where)]
    )
    limit, amount = parse_budget(budget)
    plan = Plan(
        out=out,
        recipes=loaded,
        seeds=_listed("--seeds", seeds, int),
        rates=() if rates == OWN else _listed("--rates", rates, float),
        tuning_seed=tuning_seed,
        tuning_share=tuning_share,
        limit=limit,
        amount=amount,
        reference=chosen_reference(loaded, against, limit),
        evaluations=evaluations,
    )
    first = loaded[plan.reference]
    check_model_path(first.model.path)
    for label, recipe in loaded.items():
        final_trial(plan, label, recipe.train.learning_rate, plan.seeds[0], 1.0)  # a mistake in it is told now
    refuse_other_pages(plan)

    from ocr_rl.comparison.experiment import planned, run_experiment, write_json
    from ocr_rl.comparison.outcome import outcome
    from ocr_rl.comparison.trial_runs import TrialLostError
    from ocr_rl.pipeline.pages import collect_pages
    from ocr_rl.reporting.comparison_report import comparison_report
    from ocr_rl.reporting.text_tables import recipes_table
    from ocr_rl.runs.atomic import write_atomically
    from ocr_rl.runs.folder import RunFolder

    if dry_run:
        click.echo(planned(plan))
        return
    out.mkdir(parents=True, exist_ok=True)
    try:
        with RunFolder(out).locked():
            pages = collect_pages(first.data, first.render, out / "pages")
            compared = run_experiment(plan, pages, jobs)
    except TrialLostError as error:
        fail(str(error), code=1)
    except KeyboardInterrupt:
        fail(f"stopped; the same command goes on from what is in {out}", code=130)
    compared["settings"] = {"command": shlex.join(["ocr-rl", *sys.argv[1:]]), **compared["settings"]}
    write_json(out / "compare.json", compared)
    write_atomically(out / "compare.html", comparison_report(compared, {page.id: page for page in pages}))
    for line in (recipes_table(compared), *outcome(compared), str(out / "compare.html")):
        click.echo(line)


def parse_budget(text: str) -> tuple[str, float]:
    """ "completions=15360" -> ("completions", 15360.0)."""
    from ocr_rl.comparison.plan import LIMITS

    limit, _, amount = text.partition("=")
    try:
        value = float(amount)
    except ValueError:
        value = 0.0
    if limit not in LIMITS or not 0 < value < float("inf"):
        raise ValueError(f"--budget {text}: write one of {', '.join(f'{name}=N' for name in LIMITS)}, N above 0")
    return limit, value


def _listed(option: str, text: str, kind: Callable[[str], Any]) -> Sequence[Any]:
    """ "0,1,2" -> [0, 1, 2]."""
    try:
        found = [kind(part.strip()) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or "" in found or len(set(found)) < len(found):
        raise ValueError(f"{option} {text}: write them once each, with commas in between, e.g. {EXAMPLES[option]}")
    return found


EXAMPLES = {"--recipe": "sft,grpo,dpo", "--seeds": "0,1,2", "--rates": "3e-5,1e-4,3e-4"}

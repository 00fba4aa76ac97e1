"""`ocr-rl compare`: which algorithm is best for these pages, under one budget."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocr_rl.cli.errors import fail, user_errors
from ocr_rl.cli.options import RecipeOptions, recipe_options, set_option, writable_folder

if TYPE_CHECKING:
    from ocr_rl.comparison.plan import Plan

OWN = "own"
"""In place of learning rates: each recipe keeps its own."""
EXAMPLES = {"--recipe": "sft,grpo,dpo", "--amounts": "16,64,256", "--seeds": "0,1,2", "--rates": "3e-5,1e-4,3e-4"}


@dataclass(frozen=True)
class CompareOptions(RecipeOptions):
    """A comparison, as the command line describes it."""

    recipes: str
    """A,B,..."""
    seeds: str
    """N,N,..."""
    budget: str
    """WHAT=N"""
    rates: str
    """R,R,..., or OWN."""
    tuning_seed: int
    tuning_share: float
    against: str | None
    evaluations: int
    amounts: str
    """N,N,..., or empty"""
    out: Path

    def plan(self) -> Plan:
        from ocr_rl.comparison.plan import Plan, chosen_reference, load_recipes, with_amounts

        amounts = listed("--amounts", self.amounts, int) if self.amounts else []
        recipes = with_amounts(load_recipes(listed("--recipe", self.recipes, str), self.overrides()), amounts)
        against = self.against or (list(recipes)[len(amounts) - 1] if amounts else None)
        limit, amount = parse_budget(self.budget)
        return Plan(
            out=self.out,
            recipes=recipes,
            reference=chosen_reference(recipes, against, limit),
            seeds=listed("--seeds", self.seeds, int),
            rates=() if self.rates == OWN else listed("--rates", self.rates, float),
            tuning_seed=self.tuning_seed,
            tuning_share=self.tuning_share,
            limit=limit,
            amount=amount,
            evaluations=self.evaluations,
        )


@click.command()
@click.option("--recipe", "recipes", required=True, metavar="A,B,...", help="Recipes and chains: names or TOML files.")
@click.option("--seeds", default="0,1,2", show_default=True, metavar="N,N,...", help="Each recipe has a run with each.")
@click.option(
    "--budget",
    default="completions=15360",
    show_default=True,
    metavar="WHAT=N",
    help="What a run may use: pages=N read, completions=N sampled, or minutes=N of compute. A recipe that samples "
    "nothing (sft, or pairs from a file) gets the compute of the reference.",
)
@click.option(
    "--rates",
    default="3e-5,1e-4,3e-4",
    show_default=True,
    metavar=f"R,R,...|{OWN}",
    help="Learning rates to choose from; own: each recipe keeps its own.",
)
@click.option("--tuning-seed", type=int, default=1000, show_default=True, help="Seed of the runs that choose the rate.")
@click.option(
    "--tuning-share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Share of the budget for each of these runs.",
)
@click.option(
    "--against", metavar="RECIPE", help="Reference, with which all are compared.  [default: grpo, or the first]"
)
@click.option(
    "--evaluations", type=click.IntRange(min=0), default=3, show_default=True, help="Evaluations during a run."
)
@click.option(
    "--amounts",
    default="",
    metavar="N,N,...",
    help="Train each recipe on so many pages, and so many, ...: a learning curve.  [default: all pages]",
)
@recipe_options
@set_option("Override a value of every recipe.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    callback=writable_folder,
    required=True,
    help="Folder of all runs and of the results.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Runs at a time, sharing the cores; leave it at 1 if they would share a GPU.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be run, and stop.")
@user_errors
def compare(jobs: int, dry_run: bool, **options: Any) -> None:
    """Train several recipes under the same budget and compare them: OUT/compare.html and OUT/compare.json.

    Each recipe is tried at each learning rate, evaluated on one half of the held-out pages; at the best rate it is
    trained with every seed, and evaluated on the other half, on which nothing was chosen. All start from the same
    policy and see the same pages. A chain has the budget for all its stages together. The same command continues where
    it was stopped; with further recipes or seeds it runs what is missing.

    \b
    ocr-rl compare --recipe sft,grpo,rloo,ppo,dpo,kto --out compared/
    ocr-rl compare --recipe grpo,dpo --seeds 0 --budget completions=1024 --rates own --out quick/
    ocr-rl compare --recipe grpo,mine.toml --data scans/ --model org/vlm --budget minutes=60 --out scans-compared/
    ocr-rl compare --recipe grpo,chain.toml --rates own --out chain-compared/
    ocr-rl compare --recipe few --amounts 16,64,256 --budget minutes=10 --data lines/ --out curve/
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" in os.environ:
        raise ValueError("compare starts its runs itself; give the command without a launcher, and --jobs for several")
    plan = CompareOptions(**options).plan()

    from ocr_rl.comparison.experiment import planned
    from ocr_rl.comparison.outcome import learning_curves, outcome
    from ocr_rl.comparison.trial_runs import TrialLostError
    from ocr_rl.pipeline import compare as comparison
    from ocr_rl.reporting.text_tables import recipes_table

    if dry_run:
        comparison.check(plan)
        click.echo(planned(plan))
        return
    try:
        compared = comparison.compare(plan, jobs, shlex.join(["ocr-rl", *sys.argv[1:]]))
    except TrialLostError as error:
        fail(str(error), code=1)
    except KeyboardInterrupt:
        fail(f"stopped; the same command continues from what is in {plan.out}", code=130)
    said = (*outcome(compared), *learning_curves(compared))
    for line in (recipes_table(compared), *said, str(plan.out / "compare.html")):
        click.echo(line)


def parse_budget(text: str) -> tuple[str, float]:
    """`completions=15360` -> `("completions", 15360.0)`."""
    from ocr_rl.comparison.plan import LIMITS

    limit, _, amount = text.partition("=")
    try:
        value = float(amount)
    except ValueError:
        value = 0.0
    if limit not in LIMITS or not 0 < value < float("inf"):
        raise ValueError(f"--budget {text}: write one of {', '.join(f'{name}=N' for name in LIMITS)}, N above 0")
    return limit, value


def listed(option: str, text: str, kind: Callable[[str], Any]) -> Sequence[Any]:
    """`0,1,2` -> `[0, 1, 2]`."""
    try:
        found = [kind(part.strip()) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or "" in found or len(set(found)) < len(found):
        raise ValueError(f"{option} {text}: write each once, separated by commas, e.g. {EXAMPLES[option]}")
    return found

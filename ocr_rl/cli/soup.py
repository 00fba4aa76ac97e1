"""`ocr-rl soup`: the average of several checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.options import DatasetOptions, dataset_options, on_error_option, published_options, take
from ocr_rl.cli.progress import console


@click.command()
@click.argument("checkpoints", nargs=-1, required=True, metavar="CHECKPOINT...")
@published_options
@click.option("--weights", default="", metavar="W,W,...", help="The share of each checkpoint.  [default: equal]")
@click.option(
    "--last", type=click.IntRange(min=2), help="Of each run, its newest N checkpoints.  [default: its best or newest]"
)
@click.option("--greedy", is_flag=True, help="Add a checkpoint only if held-out pages are not read worse.")
@click.option("--metric", help="The rate that decides: cer, pass_rate, reward, ...  [default: cer, or pass_rate]")
@click.option("--data", metavar="PATH", help="Held-out pages.  [default: those that the run holds out]")
@dataset_options
@on_error_option
@click.option("--prompt", default="", help="Instruction for pages that have none.")
@user_errors
def soup(checkpoints: tuple[str, ...], out: Path, weights: str, last: int | None, **options: Any) -> None:
    """Write the average of CHECKPOINTs of one model: runs, checkpoints of runs, adapters (which are merged first).

    One half of the held-out pages chooses among the checkpoints, the other half measures the result. README.md in the
    folder is the model card. The average of a run's last checkpoints takes out the noise of its last steps.

    \b
    ocr-rl soup runs/seed0 runs/seed1 runs/seed2 --out mean
    ocr-rl soup runs/seed0 runs/seed1 --weights 0.7,0.3 --out mean
    ocr-rl soup runs/seed0 --last 5 --out mean
    ocr-rl soup runs/seed0 runs/seed1 runs/seed2 --greedy --data scans/ --out chosen
    """
    from ocr_rl.publishing import soup as cooking
    from ocr_rl.publishing.source import last_checkpoints
    from ocr_rl.reporting.text_tables import comparison_table, evaluation_table

    dataset = take(DatasetOptions, options)
    chosen = cooking.SoupOptions(weights=parse_shares(weights), **options)
    names = checkpoints if last is None else [one for name in checkpoints for one in last_checkpoints(name, last)]
    made = cooking.soup(names, out, chosen, dataset.load() if dataset.data else (), console())
    for one in made.ingredients:
        measured = "" if one.tuning is None else f"{made.metric} {one.tuning:.3f} to choose by, {one.test:.3f} after; "
        kept = f"share {one.share:.3f}" if one.share else "left out"
        click.echo(f"{one.source.checkpoint}: {measured}{kept}")
    if made.against is not None:
        click.echo(f"\n{evaluation_table(made.columns)}\n\n{comparison_table(made.against)}\n")
    click.echo(f"-> {out}")


def parse_shares(text: str) -> list[float]:
    """ "0.5,0.3,0.2" -> [0.5, 0.3, 0.2]. Raises ValueError if a part is no number."""
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise ValueError(f"--weights {text}: write numbers between commas, e.g. 0.5,0.3,0.2") from None

"""`ocr-rl calibrate`: how often a model is right where its samples agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocr_rl.cli.errors import stoppable, user_errors
from ocr_rl.cli.options import (
    DatasetOptions,
    dataset_options,
    engine_option,
    find_lines_option,
    held_out_option,
    model_options,
    on_error_option,
    take,
    writable_file,
)
from ocr_rl.cli.progress import console


@click.command()
@click.argument("model")
@click.option("--data", required=True, metavar="PATH", help="Folder, file or hub id of a dataset with texts.")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=writable_file,
    help="Write the calibration to this .json file.",
)
@dataset_options
@on_error_option
@held_out_option
@click.option("--limit", type=click.IntRange(min=1), help="Use the first N pages.")
@click.option("--samples", type=click.IntRange(min=2), default=8, show_default=True, help="Samples of each page.")
@click.option(
    "--temperature", type=click.FloatRange(0, min_open=True), help="Temperature of the samples.  [default: 1]"
)
@click.option("--consensus", is_flag=True, help="Calibrate what --consensus takes, not the greedy transcription.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=2048, show_default=True, help="Tokens of a transcription."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the samples.")
@find_lines_option
@engine_option
@model_options
@user_errors
def calibrate(out: Path, held_out: float | None, limit: int | None, **options: Any) -> None:
    """Fit how often the characters, words and lines that MODEL transcribes are right.

    Give pages that it was not trained on, of several documents. Each page is sampled, and what the samples agree on and
    the log probabilities become the probability that a character, word or line is right. `ocr-rl transcribe
    --confidence` and `ocr-rl eval` take the file as --calibration, with the same samples and temperature.

    ECE and Brier score are those on documents that were left out of the fit in turn; "-" where that leaves only right
    or only wrong ones to fit.

    \b
    ocr-rl calibrate runs/a/checkpoints/step_000060 --data scans/ --held-out 0.2 --out calibration.json
    ocr-rl transcribe new/ --model runs/a/checkpoints/step_000060 --samples 8 --confidence \\
        --calibration calibration.json --out new.jsonl
    """
    from ocr_rl.data.splits import SPLIT_SEED, split_pages
    from ocr_rl.evaluation.confidence.calibrate import CalibrateOptions
    from ocr_rl.evaluation.confidence.calibrate import calibrate as fit
    from ocr_rl.rollouts.loading import lines_to_find

    dataset = take(DatasetOptions, options)
    options["find_lines"] = lines_to_find(options["find_lines"], dataset.level, options["model"])
    chosen = CalibrateOptions(**options)
    pages = dataset.load(out)
    if held_out is not None:
        _, pages = split_pages(pages, held_out, SPLIT_SEED)
    with stoppable():
        calibration = fit(pages[:limit], chosen, console())
    calibration.write(out)
    click.echo(f"{'':12}{'units':>8}{'wrong':>8}{'ECE':>8}{'Brier':>8}  from")
    for level, own in calibration.levels.items():
        why = "all are alike" if own.wrong in (0, own.units) else "too few documents to tell"
        errors = "".join(f"{'-' if value is None else f'{value:.3f}':>8}" for value in (own.ece, own.brier))
        click.echo(f"{level:12}{own.units:>8}{own.wrong:>8}{errors}  {', '.join(own.weights) or f'nothing: {why}'}")

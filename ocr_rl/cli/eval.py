"""`ocr-rl eval`: transcribe and score, or only score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocr_rl.cli.crop_options import crop_settings
from ocr_rl.cli.errors import fail_if_unread, user_errors
from ocr_rl.cli.options import (
    DatasetOptions,
    dataset_options,
    engine_option,
    held_out_option,
    html_option,
    json_option,
    model_options,
    on_error_option,
    rubric_option,
    take,
    workers_option,
)
from ocr_rl.cli.progress import console


@click.command("eval")
@click.argument("model", required=False)
@click.option("--data", required=True, metavar="PATH", help="Folder, file or hub id of a dataset.")
@click.option(
    "--predictions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Score these transcriptions instead of running a model: JSONL rows {id or file_name, text}.",
)
@dataset_options
@on_error_option
@held_out_option
@click.option("--limit", type=click.IntRange(min=1), help="Evaluate the first N pages.")
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="Maximum tokens of a transcription.",
)
@click.option("--samples", type=click.IntRange(min=1), help="Also draw N transcriptions of each page.")
@click.option(
    "--temperature", type=click.FloatRange(0, min_open=True), help="Temperature of the samples.  [default: 1]"
)
@click.option(
    "--calibration",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What ocr-rl calibrate wrote: confidences of the samples are probabilities.",
)
@click.option(
    "--against",
    metavar="OTHER",
    help="Compare with another evaluation (.json), file of predictions (.jsonl), or model, page by page.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of samples, intervals and p-values.")
@engine_option
@workers_option
@click.option("--find-lines", is_flag=True, default=None, help="Find the lines of each page and read one at a time.")
@rubric_option
@model_options
@json_option("Write metrics, tables and pages here.")
@html_option("Write a report with page images and coloured differences here.")
@user_errors
def evaluate(
    held_out: float | None, limit: int | None, json_path: Path | None, html_path: Path | None, **options: Any
) -> None:
    """Transcribe pages with MODEL (greedy) and score them, or score a file of predictions without one.

    FILE is JSONL, or an evaluation that --json wrote. With --against, differences are paired on the pages that both
    have, with 95 % intervals over documents and p-values of a permutation test.

    With --samples 2 or more it also says how good the consensus of the samples is, and their confidences: the expected
    calibration error, and how many errors are among the least sure words.

    Output in another format becomes markdown before it is scored; what is malformed is scored as it stands, and named.

    Pages that cannot be read are left out and named; the exit code is then 1.

    \b
    ocr-rl eval tiny-scans --data data/sample --json before.json
    ocr-rl eval runs/a/checkpoints/step_000060 --data scans/ --held-out 0.2 --against before.json
    ocr-rl eval runs/a/checkpoints/step_000060 --data scans/ --samples 8
    ocr-rl eval --predictions tesseract.jsonl --data scans/ --json tesseract.json
    ocr-rl eval --predictions tesseract.jsonl --data scans/ --rubric my_rubric.toml
    """
    from ocr_rl.data.splits import SPLIT_SEED, split_pages
    from ocr_rl.evaluation import evaluate as evaluation
    from ocr_rl.reporting.evaluation_report import evaluation_report
    from ocr_rl.reporting.text_tables import evaluation_text
    from ocr_rl.rewards.reward_function import scoring_settings
    from ocr_rl.rollouts.loading import lines_to_find
    from ocr_rl.runs.atomic import write_atomically
    from ocr_verifiers import write_json_atomic

    dataset = take(DatasetOptions, options)
    options["find_lines"] = lines_to_find(options["find_lines"], dataset.level, "")
    chosen = evaluation.EvaluateOptions(**options)
    pages = dataset.load(json_path)
    if held_out is not None:
        _, pages = split_pages(pages, held_out, SPLIT_SEED)
    pages = pages[:limit]
    evaluated = evaluation.evaluate(pages, chosen, console())
    name = Path(chosen.model or str(chosen.predictions)).name
    click.echo(evaluation_text(evaluated, name))
    evaluated["settings"] = {
        "model": chosen.model,
        "predictions": None if chosen.predictions is None else str(chosen.predictions),
        "data": dataset.data,
        "where": dataset.filters,
        **crop_settings(dataset.level, dataset.cuts),
        "on_error": dataset.on_error,
        "held_out": held_out,
        "limit": limit,
        "max_tokens": chosen.max_tokens,
        "preset": chosen.preset,
        "output": chosen.output,
        "find_lines": chosen.find_lines,
        "calibration": None if chosen.calibration is None else str(chosen.calibration),
        **scoring_settings(chosen.rubric),
        "seed": chosen.seed,
    }
    if json_path is not None:
        write_json_atomic(json_path, evaluated)
    if html_path is not None:
        write_atomically(html_path, evaluation_report(evaluated, name, pages))
    unread = evaluated.get("unread", ())
    for row in unread:
        click.echo(f"{row['id']}: left out: {row['error']}", err=True)
    fail_if_unread(len(unread))

"""`ocr-rl eval`: transcribe and score, or score alone."""

from __future__ import annotations

from pathlib import Path

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.loading import load_engine
from ocr_rl.cli.options import dataset_options, html_option, json_option, model_options, parse_columns, transcribing


@click.command("eval")
@click.argument("model", required=False)
@click.option("--data", required=True, metavar="PATH", help="Folder, file or hub id of a dataset.")
@click.option(
    "--predictions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Score these transcriptions instead of running a model: JSONL rows {id or file_name, text}.",
)
@dataset_options
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Evaluate only the pages that training with this data.validation holds out.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Evaluate the first N pages.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=512, show_default=True, help="Tokens of a transcription."
)
@click.option(
    "--samples", type=click.IntRange(min=1), help="Beside the greedy one, draw N transcriptions of each page."
)
@click.option("--temperature", type=click.FloatRange(0, min_open=True), help="Of the samples.  [default: 1]")
@click.option(
    "--against",
    metavar="OTHER",
    help="Compare with another evaluation (.json), file of predictions (.jsonl), or model, page by page.",
)
@click.option("--seed", default=0, show_default=True, help="Of samples, intervals and p-values.")
@model_options
@json_option("Write metrics, tables and pages here.")
@html_option("Write a report with page images and coloured differences here.")
@user_errors
def evaluate(
    model: str | None,
    data: str,
    predictions: Path | None,
    where: tuple[str, ...],
    columns: tuple[str, ...],
    split: str | None,
    held_out: float | None,
    max_tokens: int,
    max_pixels: int,
    prompt: str,
    limit: int | None,
    samples: int | None,
    temperature: float | None,
    against: str | None,
    seed: int,
    json_path: Path | None,
    html_path: Path | None,
    trust_remote_code: bool,
) -> None:
    """Transcribe pages with MODEL (greedy) and score them, or score a file of predictions without one.

    FILE is JSONL, or an evaluation that --json wrote. With --against, differences are paired, on the pages that both
    have, with 95 % intervals over documents and p-values of a permutation test.

    \b
    ocr-rl eval tiny --data data/sample --json tiny.json
    ocr-rl eval runs/a/checkpoints/step_000060 --data scans/ --held-out 0.2 --against tiny.json
    ocr-rl eval runs/a/checkpoints/step_000060 --data scans/ --samples 8
    ocr-rl eval --predictions tesseract.jsonl --data scans/ --json tesseract.json
    """
    if (model is None) == (predictions is None):
        raise ValueError("give either a MODEL or --predictions FILE")
    if samples and model is None:
        raise ValueError("--samples draws from a MODEL; a file of predictions has none")
    if temperature is not None and not samples:
        raise ValueError("--temperature is that of --samples N; without them decoding is greedy")
    other = against_file(against) if against is not None else None

    from ocr_rl.config.schema import RewardConfig
    from ocr_rl.data.loading import load_pages, parse_filters
    from ocr_rl.data.splits import SPLIT_SEED, split_pages
    from ocr_rl.evaluation.paired import paired_differences
    from ocr_rl.evaluation.predictions import read_predictions
    from ocr_rl.evaluation.results import score_pages, score_samples
    from ocr_rl.evaluation.summary import evaluation, summarize_samples
    from ocr_rl.evaluation.transcribe import sample, transcribe
    from ocr_rl.reporting.text_tables import breakdown, comparison_table, evaluation_table
    from ocr_rl.rewards.reward_function import RewardFunction, make_rubric

    pages = load_pages(
        data, where=parse_filters(where), prompt=prompt, columns=parse_columns(columns), split=split or "train"
    )
    if held_out is not None:
        _, pages = split_pages(pages, held_out, SPLIT_SEED)
    pages = pages[:limit]
    if predictions is not None:
        pages, completions = read_predictions(predictions, pages)
    if other is not None:
        their_pages, theirs = read_predictions(other, pages, skip_unknown=True)
    reward_function = RewardFunction(make_rubric(RewardConfig()), pages)
    sampled = []
    if model is not None:
        engine = load_engine(model, max_pixels, trust_remote_code)
        with transcribing(len(pages)) as report:
            completions = transcribe(engine, pages, max_tokens, report)
        if samples:
            with transcribing(len(pages), "sampling") as report:
                groups = sample(engine, pages, samples, temperature or 1.0, max_tokens, seed, report)
            sampled = score_samples(groups, reward_function)
        del engine  # its memory is for the other model
    if against is not None and other is None:
        with transcribing(len(pages), against) as report:
            theirs = transcribe(load_engine(against, max_pixels, trust_remote_code), pages, max_tokens, report)
        their_pages = pages
    results = score_pages(pages, completions, reward_function)
    evaluated = evaluation(results, seed)
    shown = {Path(model or str(predictions)).name: evaluated}
    if sampled:
        evaluated["sampled"] = summarize_samples(sampled, temperature or 1.0, seed)
        shown |= {f"{name} of {samples}": evaluated["sampled"][name] for name in ("mean", "best")}
    click.echo(evaluation_table(shown))
    if text := breakdown(evaluated):
        click.echo(f"\n{text}")
    if against is not None:
        evaluated["against"] = paired_differences(
            results, score_pages(their_pages, theirs, reward_function), against, seed
        )
        click.echo(f"\n{comparison_table(evaluated['against'])}")
    evaluated["settings"] = {
        "model": model,
        "predictions": None if predictions is None else str(predictions),
        "data": data,
        "where": parse_filters(where),
        "held_out": held_out,
        "limit": limit,
        "max_tokens": max_tokens,
        "seed": seed,
    }
    if json_path is not None:
        from ocr_verifiers import write_json_atomic

        write_json_atomic(json_path, evaluated)
    if html_path is not None:
        from ocr_rl.reporting.evaluation_report import evaluation_report
        from ocr_rl.runs.atomic import write_atomically

        write_atomically(html_path, evaluation_report(evaluated, Path(model or str(predictions)).name, pages))


def against_file(other: str) -> Path | None:
    """The file that --against names; None for a model. Raises ValueError for neither."""
    from ocr_rl.config.loader import check_model_path

    path = Path(other)
    if path.is_file():
        return path
    if path.suffix in (".json", ".jsonl"):
        raise ValueError(f"--against {other}: no such file")
    check_model_path(other)
    return None

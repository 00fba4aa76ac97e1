"""`ocr-verify groups`: rewards for groups of completions, for any trainer in any language."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ocr_verifiers.cli.format_option import format_or_rubrics_option
from ocr_verifiers.cli.number_options import Share, timeout_option
from ocr_verifiers.cli.output_option import FileCommand, OutputFile
from ocr_verifiers.cli.progress import progress
from ocr_verifiers.cli.rubric_option import rubric_option
from ocr_verifiers.files.jsonl import RecordError, atomic_file
from ocr_verifiers.outputs.conversion import OutputFormat
from ocr_verifiers.rewards.group_files import GroupOptions, score_group_file
from ocr_verifiers.rewards.groups import OLMOCR
from ocr_verifiers.rewards.rubric import Rubric


@click.command(cls=FileCommand, short_help="Score the completions of each page in a file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "out", type=OutputFile(), help="Write the scores here.  [default: stdout]")
@click.option("--compat", type=click.Choice(["olmocr"]), help="olmOCR's verdicts; the reward is the share that passes.")
@rubric_option
@format_or_rubrics_option
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Scoring in parallel.")
@timeout_option
@click.option("--fail-under", type=Share(), help="Exit with code 1 if the mean reward is lower, or there is none.")
def groups(
    out: Path | None,
    compat: str | None,
    rubric: Rubric | None,
    output: OutputFormat | None,
    fail_under: float | None,
    **options: Any,
) -> None:
    """Score the completions of each page in FILE; - is standard input.

    \b
    FILE    {"id": "p1", "reference": "...", "tests": [{...}], "completions": ["...", "..."]}      a line per page
    scores  {"id": "p1", "completions": [{"reward": 0.9, "parts": {"similarity": 0.98, ...},
             "verdicts": [{"id": "t1", "passed": false, "why": "..."}, ...]}, ...]}       in the same order

    A page has a reference, or unit tests in the schema of olmOCR-bench, or both. "finished": [true, false, ...] says
    which completions were not cut off. Verdicts are in the order of the tests; a test that a person rejected is not
    run and has no verdict, except with --compat. With one process, each line is answered before the next is read.

    A mistake in FILE ends the run with exit code 2. The scores before it stay in OUT.part.

    \b
    Examples:
      ocr-verify groups rollout.jsonl --json rewards.jsonl --processes 4
      trainer | ocr-verify groups - --compat olmocr
      ocr-verify groups rollout.jsonl --rubric layout --json rewards.jsonl
    """
    if compat and rubric:
        raise ValueError("--compat chooses a rubric; leave out --compat or --rubric")
    rubric = rubric or (OLMOCR if compat else Rubric())
    chosen = GroupOptions(rubric=replace(rubric, output=output or rubric.output), **options)
    with _output(out) as write:
        summary = score_group_file(chosen, write, progress)
    mean = "-" if summary.mean is None else f"{summary.mean:.3f}"
    line = f"{summary.groups} groups, {summary.completions} completions, mean reward {mean}"
    late = f"; {summary.late} took longer than {chosen.timeout:g} s" if summary.late else ""
    malformed = f"; {summary.malformed} are not valid {chosen.rubric.output} and are scored as they stand"
    click.echo(line + late + (malformed if summary.malformed else ""), err=out is None)
    if fail_under is not None and (summary.mean is None or summary.mean < fail_under):
        raise click.exceptions.Exit(1)


@contextmanager
def _output(path: Path | None) -> Iterator[Callable[[bytes], object]]:
    """Writes lines to stdout, or to `path` once all are there; after an error they stay in `<path>.part`."""
    if path is None:
        yield lambda line: click.echo(line, nl=False)
        return
    with atomic_file(path, keep_partial=True) as file:
        try:
            yield file.write
        except ValueError as error:
            if file.tell():
                raise RecordError(f"{error}; the scores before it are in {file.name}") from error
            raise

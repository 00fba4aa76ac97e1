"""`ocr-verify groups`: rewards for groups of completions, for any trainer in any language."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ocr_verifiers.cli.progress import progress
from ocr_verifiers.cli.rubric_option import rubric_option
from ocr_verifiers.files.jsonl import RecordError, parse_jsonl, read_jsonl
from ocr_verifiers.rewards.groups import OLMOCR, group_row, read_groups
from ocr_verifiers.rewards.rubric import Rubric
from ocr_verifiers.rewards.scoring_pool import ScoringPool

Write = Callable[[bytes], object]


@click.command(short_help="Score the completions of each page in a file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the scores here.  [default: stdout]")
@click.option("--compat", type=click.Choice(["olmocr"]), help="Its verdicts, and the share that passes as the reward.")
@rubric_option
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="That score side by side.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds for one completion; one that takes longer has reward 0, failed verdicts and a reason.",
)
@click.option("--fail-under", type=float, help="Exit with code 1 if the mean reward is lower, or there is none.")
def groups(
    file: Path,
    out: Path | None,
    compat: str | None,
    rubric: Rubric | None,
    processes: int,
    timeout: float,
    fail_under: float | None,
) -> None:
    """Score the completions of each page in FILE; - is standard input.

    \b
    FILE    {"id": "p1", "reference": "...", "tests": [{...}], "completions": ["...", "..."]}      a line per page
    scores  {"id": "p1", "completions": [{"reward": 0.9, "parts": {"similarity": 0.98, ...},
             "verdicts": [{"id": "t1", "passed": false, "why": "..."}, ...]}, ...]}       in the same order

    A page has a reference, or unit tests in the schema of olmOCR-bench, or both. "finished": [true, false, ...] says
    which completions were not cut off. Verdicts are in the order of the tests; a test that a person rejected is not
    run and has none, except with --compat. With one process, each line is answered before the next is read.

    A mistake in FILE ends the run with exit code 2. What was scored before it stays in OUT.part.

    \b
    Examples:
      ocr-verify groups rollout.jsonl --json rewards.jsonl --processes 4
      trainer | ocr-verify groups - --compat olmocr
      ocr-verify groups rollout.jsonl --rubric layout --json rewards.jsonl
    """
    if compat and rubric:
        raise ValueError("--compat is a rubric of its own; leave out --compat or --rubric")
    rubric = rubric or (OLMOCR if compat else Rubric())
    if str(file) == "-":
        rows, name = parse_jsonl(sys.stdin.buffer, "<stdin>"), "<stdin>"
    else:
        rows, name = read_jsonl(file), str(file)
    read = read_groups(rows, name, rubric.compat)
    pages = completions = late = 0
    total = 0.0
    with _output(out) as write, ScoringPool(rubric, processes, timeout) as pool:
        for group, scores in progress(pool.score_groups(read), "groups"):
            write(_line(group_row(group, scores)))
            pages += 1
            completions += len(scores)
            total += sum(score.reward for score in scores)
            late += sum(bool(score.trouble) for score in scores)
    mean = total / completions if completions else None
    summary = f"{pages} groups, {completions} completions, mean reward {'-' if mean is None else f'{mean:.3f}'}"
    click.echo(summary + (f"; {late} took longer than {timeout:g} s" if late else ""), err=out is None)
    if fail_under is not None and (mean is None or mean < fail_under):
        sys.exit(1)


@contextmanager
def _output(path: Path | None) -> Iterator[Write]:
    """Writes lines to stdout, or beside `path`, where they stay under another name if something goes wrong."""
    if path is None:
        yield lambda line: click.echo(line, nl=False)
        return
    partial = path.with_name(f"{path.name}.part")
    try:
        with open(partial, "wb") as file:
            yield file.write
        os.replace(partial, path)
    except OSError as error:
        raise RecordError(f"{path}: cannot be written: {error.strerror or error}") from error
    except ValueError as error:
        if partial.stat().st_size:
            raise RecordError(f"{error}; the scores before it are in {partial}") from error
        partial.unlink()
        raise


def _line(row: dict[str, Any]) -> bytes:
    """ASCII: a reader that splits lines at any of Unicode's ends sees as many as there are."""
    return json.dumps(row, allow_nan=False).encode("ascii") + b"\n"

"""`ocr-rl report`: a run as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.options import html_option


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@html_option("Write it here.  [default: RUN/report.html]")
@user_errors
def report(run: Path, html_path: Path | None) -> None:
    """Write a report of RUN, the folder of a training run, as one HTML file.

    `train` writes it at the end; this is for a run that was stopped, or is still running. Page images are read from
    the recipe's dataset; without them the report has only texts.

    \b
    ocr-rl report runs/a
    ocr-rl report runs/a --html a.html
    """
    from ocr_rl.reporting.run_report import run_report
    from ocr_rl.runs.atomic import write_atomically
    from ocr_rl.runs.folder import RunFolder

    out = html_path or run / "report.html"
    write_atomically(out, run_report(RunFolder.open(run)))
    click.echo(f"report: {out}")

"""`ocr-rl`: train, compare, report, eval, transcribe, calibrate, review, merge, soup, rollout, probe, ..."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import click

from ocr_rl import __version__
from ocr_rl.cli.calibrate import calibrate
from ocr_rl.cli.compare import compare
from ocr_rl.cli.data import data
from ocr_rl.cli.eval import evaluate
from ocr_rl.cli.merge import merge
from ocr_rl.cli.pairs import pairs
from ocr_rl.cli.probe import probe
from ocr_rl.cli.render import render
from ocr_rl.cli.report import report
from ocr_rl.cli.review import review
from ocr_rl.cli.rollout import rollout
from ocr_rl.cli.select import select
from ocr_rl.cli.serve_command import serve_command
from ocr_rl.cli.soup import soup
from ocr_rl.cli.train import train
from ocr_rl.cli.transcribe import transcribe

COMPUTING = {"calibrate", "train", "compare", "eval", "transcribe", "rollout", "merge", "soup"}
"""The commands that load torch."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ocr-rl")
@click.pass_context
def main(context: click.Context) -> None:
    """Reinforcement learning with verifiable rewards for document transcription.

    \b
    ocr-rl train                                   make the embedded policy read a collection better
    ocr-rl train --data scans/ --model org/vlm     the same for your pages and your model
    ocr-rl compare --recipe grpo,dpo --out c/      which algorithm is best for them, under one budget
    ocr-rl serve-command my.toml --gpus 8          the commands for servers that sample on other GPUs
    ocr-rl report runs/a                           what a run did, as one HTML file
    ocr-rl eval tiny-scans --data scans/ --json out.json
    ocr-rl transcribe page.png
    ocr-rl calibrate tiny-scans --data scans/ --out calibration.json    how often it is right where its samples agree
    ocr-rl review scans.jsonl --html review.html   the least sure transcriptions, to be corrected
    ocr-rl merge runs/a --out reader               a plain checkpoint with a model card
    ocr-rl rollout tiny-scans --data scans/ --out groups.jsonl
    ocr-rl probe groups.jsonl --out kept.jsonl     the pages that are worth training on
    ocr-rl pairs groups.jsonl --out pairs.jsonl
    ocr-rl data check scans/
    """
    if context.invoked_subcommand in COMPUTING and not {"-h", "--help"} & {*sys.argv} and find_spec("torch"):
        from ocr_rl.threads import choose_threads

        if line := choose_threads():
            click.echo(line, err=True)


DATA = (data, render, rollout, probe, select, pairs)
MODELS = (train, serve_command, compare, merge, soup)
RESULTS = (transcribe, calibrate, review, evaluate, report)
for command in (*DATA, *MODELS, *RESULTS):
    main.add_command(command)

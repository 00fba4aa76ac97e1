"""`ocr-verify`: score files of transcriptions."""

from __future__ import annotations

from typing import Any

import click

import ocr_verifiers
from ocr_verifiers.cli.audit import audit
from ocr_verifiers.cli.bench import bench
from ocr_verifiers.cli.cheats import cheats
from ocr_verifiers.cli.diff import diff
from ocr_verifiers.cli.errors import errors
from ocr_verifiers.cli.groups import groups
from ocr_verifiers.cli.lint import lint
from ocr_verifiers.cli.make_tests import make_tests
from ocr_verifiers.cli.score import score


class UserError(click.ClickException):
    """A mistake that the user can fix: one line on stderr."""

    exit_code = 2


class Commands(click.Group):
    """A ValueError becomes one line on stderr and exit code 2; a bug keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ValueError as error:
            raise UserError(str(error)) from error


EXAMPLES = """\b
Examples:
  ocr-verify score predictions.jsonl --references metadata.jsonl --json scores.json
  ocr-verify make-tests metadata.jsonl --out tests.jsonl
  ocr-verify COMMAND --help
"""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES)
@click.version_option(ocr_verifiers.__version__, prog_name="ocr-verify")
def main() -> None:
    """Score document transcriptions against references and unit tests. Needs no GPU and no torch."""


for command in (audit, bench, cheats, diff, errors, groups, lint, make_tests, score):
    main.add_command(command)

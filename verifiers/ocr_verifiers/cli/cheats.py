"""`ocr-verify cheats`: shows what degenerate policies earn under a rubric."""

from __future__ import annotations

import click

from ocr_verifiers.cheats.table import cheat_table, markdown
from ocr_verifiers.cli.rubric_option import rubric_option
from ocr_verifiers.rewards.rubric import Rubric


@click.command(short_help="Print what degenerate policies earn.")
@rubric_option
def cheats(rubric: Rubric | None) -> None:
    """Print what degenerate policies earn, as a markdown table: means over invented pages.

    \b
    similarity       edit similarity to the true text
    text             reward if only the true text is known
    text and tests   reward if unit tests are known too
    tests            reward if only unit tests are known
    olmOCR's reward  the share of the same tests that pass by olmOCR's verdicts

    Policies are given the true text and the tests, so that each cheat is as good as its kind can be. Pages with
    formulas get math tests if the extra ocr-rl[math] is installed.

    \b
    Examples:
      ocr-verify cheats
      ocr-verify cheats --rubric my_rubric.toml
    """
    for line in markdown(cheat_table(rubric)):
        click.echo(line)

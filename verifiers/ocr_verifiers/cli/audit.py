"""`ocr-verify audit`: what published rewards pay for wrong pages, beside the rubrics of this project."""

from __future__ import annotations

import click

from ocr_verifiers.cheats.audit import audit as audited
from ocr_verifiers.cheats.audit import markdown


@click.command(short_help="Compare published rewards on hard pages and cheats.")
@click.option("--no-cheats", is_flag=True, help="Only the hard pages, which takes seconds.")
def audit(no_cheats: bool) -> None:
    """Score hard pages and degenerate policies by published rewards and by the rubrics, as markdown tables.

    The pages are those of `ocr-verify cheats`; means over those that have what the case changes. Rewards are written
    anew from their papers and code. The bound of a cheat is max(0.35, the similarity of what is read of it).

    \b
    Examples:
      ocr-verify audit
      ocr-verify audit --no-cheats
    """
    for line in markdown(audited(cheats=not no_cheats)):
        click.echo(line)

"""Options that are numbers: a share, and seconds."""

from __future__ import annotations

import math
from typing import Any

import click

from ocr_verifiers.rewards.scoring_pool import LONGEST_TIMEOUT


class Share(click.FloatRange):
    """A number from 0 to 1; click alone accepts nan too."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fails for anything else."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail("nan is not a number from 0 to 1.", param, ctx)
        return number


class Seconds(click.FloatRange):
    """A number of seconds above 0."""

    def __init__(self) -> None:
        super().__init__(0, LONGEST_TIMEOUT, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Fails for anything else."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail("nan is not a number of seconds.", param, ctx)
        return number


timeout_option = click.option(
    "--timeout",
    type=Seconds(),
    default=60.0,
    show_default=True,
    help="Seconds for one completion; one that takes longer has reward 0, failed verdicts and a reason.",
)

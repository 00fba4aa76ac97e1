"""`--rubric`, the same for all commands that score."""

from __future__ import annotations

from typing import Any

import click

from ocr_verifiers.rewards.rubric import Rubric, load_rubric, rubric_names


class RubricName(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A ready-made rubric's name or the path of a TOML file; the command gets the Rubric."""

    name = "NAME_OR_FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Rubric:
        """Raises the ValueError of `load_rubric` for an unknown name."""
        return value if isinstance(value, Rubric) else load_rubric(value)


rubric_option = click.option(
    "--rubric",
    type=RubricName(),
    help=f"How rewards are computed: a TOML file, or one of {', '.join(rubric_names())}.",
)
"""The command gets None if the option is not given."""

"""`--output`, the same for all commands that read completions."""

from __future__ import annotations

from typing import Any

import click

from ocr_verifiers.outputs.conversion import OUTPUT_FORMATS, check_output


class FormatName(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """The name of an output format."""

    name = "FORMAT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raises ValueError for an unknown name."""
        check_output(value)
        return str(value)


_HELP = f"The format of completions: {', '.join(OUTPUT_FORMATS)}."

format_option = click.option("--output", type=FormatName(), default="markdown", show_default=True, help=_HELP)
format_or_rubrics_option = click.option("--output", type=FormatName(), help=f"{_HELP}  [default: the rubric's]")
"""The command gets None if the option is not given."""

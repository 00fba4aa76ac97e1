"""`--normalization` and `--equivalences`: which differences between two texts do not count."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ocr_verifiers.text.equivalences import read_equivalences
from ocr_verifiers.text.normalize import NORMALIZATIONS, normalize

USUAL = "nfc,whitespace"


class NormalizationNames(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """Names of normalisations with commas between them."""

    name = "NAME[,NAME]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Raises ValueError for an unknown name; `none` alone is no normalisation."""
        names = () if value == "none" else tuple(name.strip() for name in str(value).split(","))
        normalize("", names)
        return names


def text_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command gets `normalization`, a tuple of names, and `equivalences`, pairs of texts."""

    @click.option(
        "--normalization",
        type=NormalizationNames(),
        default=USUAL,
        show_default=True,
        help=f"Normalise texts before edits are counted, in this order: {', '.join(NORMALIZATIONS)}; none.",
    )
    @click.option(
        "--equivalences",
        type=click.Path(path_type=Path),
        help="TSV file of texts that count as equal after that: a text, a tab and its equivalent on each line.",
    )
    @wraps(command)
    def wrapped(*args: Any, equivalences: Path | None, **options: Any) -> None:
        pairs = () if equivalences is None else read_equivalences(equivalences)
        command(*args, equivalences=pairs, **options)

    return wrapped

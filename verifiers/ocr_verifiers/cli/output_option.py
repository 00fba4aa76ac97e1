"""The type of options that name a file to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocr_verifiers.files.jsonl import RecordError


class OutputFile(click.Path):
    """A file in an existing folder; the folder is checked before any work is done."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Raises RecordError if the folder does not exist."""
        path = super().convert(value, param, ctx)
        assert isinstance(path, Path)
        if not path.absolute().parent.is_dir():
            raise RecordError(f"{path}: the folder {path.parent} does not exist")
        return path

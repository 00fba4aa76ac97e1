"""The type of options that name a file to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocr_verifiers.files.jsonl import RecordError
from ocr_verifiers.files.writable import file_trouble


class OutputFile(click.Path):
    """A file in an existing folder; whether it can be written is checked before any work is done."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Raises RecordError if the file cannot be written."""
        path = super().convert(value, param, ctx)
        assert isinstance(path, Path)
        if trouble := file_trouble(path):
            raise RecordError(f"{path}: {trouble}")
        return path

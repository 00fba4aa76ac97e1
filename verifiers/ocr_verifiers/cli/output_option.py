"""Options that name a file to write. A command never writes over what it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocr_verifiers.files.jsonl import RecordError
from ocr_verifiers.files.writable import file_trouble, refuse_overwriting


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


class FileCommand(click.Command):
    """A command whose outputs are neither its inputs nor each other."""

    def invoke(self, ctx: click.Context) -> Any:
        """Raises RecordError before anything is read or written."""
        given = [(param, ctx.params.get(param.name or "")) for param in self.params]
        outputs = [value for param, value in given if isinstance(param.type, OutputFile) and value]
        inputs: list[Path] = []
        for param, value in given:
            if isinstance(param.type, click.Path) and not isinstance(param.type, OutputFile) and value:
                inputs += value if isinstance(value, tuple) else [value]
        refuse_overwriting(outputs, inputs)
        return super().invoke(ctx)

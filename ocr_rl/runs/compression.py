"""Text files that are compressed if they are large: `name` or, by Zstandard, `name.zst`."""

from __future__ import annotations

import os
from pathlib import Path

from ocr_rl.runs.atomic import addressed, fsync_path, write_atomically

COMPRESSED_FROM = 4 << 20
"""Bytes of a text; a smaller one is easier to look at as it is."""


def compressible(file: Path) -> Path:
    """The file as it is on disk: itself or its compressed form."""
    compressed = _compressed(file)
    return compressed if compressed.exists() else file


def write_compressible(file: Path, text: str) -> None:
    """Write the text, complete or not at all, in the form that its size asks for."""
    content = text.encode("utf-8")
    if len(content) <= COMPRESSED_FROM:
        write_atomically(file, text)
        _compressed(file).unlink(missing_ok=True)
        return
    import pyarrow  # type: ignore[import-untyped]

    compressed = _compressed(file)
    partial = compressed.with_name(compressed.name + ".partial")
    try:
        with addressed(compressed), pyarrow.CompressedOutputStream(str(partial), "zstd") as stream:
            stream.write(content)
        fsync_path(partial)
        os.replace(partial, compressed)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    file.unlink(missing_ok=True)


def read_compressible(file: Path) -> str:
    """The text of a file, compressed or not. Raises ValueError if the compressed file is damaged."""
    if file.suffix != ".zst":
        return file.read_text(encoding="utf-8")
    import pyarrow  # type: ignore[import-untyped]

    try:
        with pyarrow.CompressedInputStream(str(file), "zstd") as stream:
            content: bytes = stream.read()
    except OSError as error:
        raise ValueError(f"{file}: is damaged: {error}") from None
    return content.decode("utf-8")


def _compressed(file: Path) -> Path:
    return file.with_name(file.name + ".zst")

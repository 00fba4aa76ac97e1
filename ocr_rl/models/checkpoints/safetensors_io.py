"""Errors of weights files name the file: damaged ones before they are read, full disks while they are written."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open

LFS_POINTER = b"version https://git-lfs"


def check_weights(folder: Path) -> None:
    """Raises ValueError, with the file and what to do, if a weights file in a local folder cannot be read.

    Only headers and sizes are looked at, so this is quick. What is no local folder is not checked.
    """
    files = sorted(folder.glob("*.safetensors"))
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError as error:
            with file.open("rb") as opened:
                if opened.read(len(LFS_POINTER)) == LFS_POINTER:
                    raise ValueError(f"{file}: is a pointer of Git LFS, not the weights; run `git lfs pull`") from None
            raise ValueError(f"{file}: is damaged or not complete ({error}); download or copy it again") from None
    if not files and (pickled := next(folder.glob("*.bin"), None)):
        raise ValueError(
            f"{pickled}: holds weights as a pickle, which may run code and is not read; load the model with "
            f'transformers where you trust it, and save it with `model.save_pretrained("{folder}")`'
        )


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise OSError, for example for a full disk, instead of SafetensorError."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, os.strerror(code) if number else str(error), str(path)) from None

"""Looks at the files of a checkpoint's folder before they are loaded: a download that was cut short is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

OBJECTS = (
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors.index.json",
)
"""Files that hold one JSON object each, where they are present."""
ADVICE = "copy or download it again"
LFS_POINTER = b"version https://git-lfs"


def check_files(folder: Path) -> None:
    """Raises ValueError for the first file of a folder that is broken, or that an index or an adapter lacks.

    Of weights only the header and the length are read, and only of files that transformers loads.
    """
    found = {name: _object(folder / name) for name in OBJECTS if (folder / name).is_file()}
    whole = "model.safetensors"
    index = {} if (folder / whole).is_file() else found.get(f"{whole}.index.json", {})
    needed = sorted(set(index.get("weight_map", {}).values()))
    if "adapter_config.json" in found:
        needed.append("adapter_model.safetensors")
    for name in needed:
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name} is missing; {ADVICE}")
    files = [folder / name for name in (whole, *needed) if (folder / name).is_file()]
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError as error:
            with file.open("rb") as opened:
                if opened.read(len(LFS_POINTER)) == LFS_POINTER:
                    raise ValueError(f"{file} is a pointer of Git LFS, not the weights; run `git lfs pull`") from None
            reason = str(error).removeprefix("Error while deserializing header: ")
            raise ValueError(f"{file} is broken ({reason}); {ADVICE}") from None
    if not files and (pickled := next(folder.glob("*.bin"), None)):
        raise ValueError(
            f"{pickled} holds weights as a pickle, which may run code and is not read; load the model with "
            f'transformers where you trust it, and save it with `model.save_pretrained("{folder}")`'
        )


def check_weights(found: Mapping[str, Any]) -> None:
    """Raises ValueError if weights of the model had no tensor of their shape, and so would have random values.

    Args:
        found: what `from_pretrained` reports with `output_loading_info`.
    """
    if missing := sorted(found["missing_keys"]):
        others = f" and {len(missing) - 1} others" if missing[1:] else ""
        raise ValueError(f"its weights lack {missing[0]}{others}, which would be random")
    for name, saved, wanted in sorted(found["mismatched_keys"]):
        raise ValueError(f"{name} is {list(saved)} in its weights, but {list(wanted)} by its config.json")


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # also where it is not UTF-8
        raise ValueError(f"{file} is not JSON ({error}); {ADVICE}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds a JSON {type(found).__name__}, not an object; {ADVICE}")
    return found

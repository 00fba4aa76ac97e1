"""A policy becomes a plain checkpoint folder: in which precision, and where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch

from ocr_rl.config.embedded import model_folder
from ocr_rl.models.policy import Policy
from ocr_rl.runs.atomic import atomic_folder

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which appears at `out` at the end of the block, or not at all.

    Raises:
        ValueError: `out` holds something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists already; give another --out")
    with atomic_folder(out) as partial:
        yield partial


def chosen_dtype(wanted: Dtype, base: str, policy: Policy, trust_remote_code: bool) -> torch.dtype:
    """That of the base's checkpoint where it is `auto`; of a base that is not there any more, the checkpoint's own."""
    from transformers import AutoConfig

    if wanted != "auto":
        chosen: torch.dtype = getattr(torch, wanted)
        return chosen
    try:
        config = AutoConfig.from_pretrained(
            model_folder(base), trust_remote_code=trust_remote_code, local_files_only=True
        )
    except (OSError, ValueError):
        config = policy.base.config
    return config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32


def name_of(dtype: torch.dtype) -> str:
    """ "bfloat16" of torch.bfloat16."""
    return str(dtype).removeprefix("torch.")


def rounded(policy: Policy, dtype: torch.dtype) -> None:
    """Round the weights to what a file of `dtype` can hold; they stay float32 in memory."""
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.copy_(parameter.to(dtype))


def write(policy: Policy, folder: Path, dtype: torch.dtype) -> None:
    """Weights, config, tokenizer, processor and chat template. The policy cannot be used any more."""
    policy.model.to(dtype)
    policy.save(folder)

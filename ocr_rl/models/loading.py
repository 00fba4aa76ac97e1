"""What `Policy` needs to know about a checkpoint: pixel budget, vision tower, adapter, special tokens."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ocr_rl.models.pixels import PixelBudget

if TYPE_CHECKING:
    from ocr_rl.config.schema import ModelConfig

ADAPTER = "adapter_config.json"


def pixel_budget(processor: Any, max_pixels: int | None) -> PixelBudget:
    """The budget of the checkpoint's image processor, lowered to `max_pixels` if that is less."""
    images = processor.image_processor
    size = dict(images.size) if images.size else {}
    patch = images.patch_size
    patch = patch["height"] if isinstance(patch, Mapping) else getattr(patch, "height", patch)
    merge = getattr(images, "merge_size", None)
    if merge is None:  # Pixtral's image processor already counts merged patches
        longest, line = size.get("longest_edge"), getattr(images, "line_height", None)
        return PixelBudget(patch, longest_edge=longest, max_pixels=max_pixels, line_height=line)
    limits = [getattr(images, "max_pixels", None) or size.get("longest_edge"), max_pixels]
    min_pixels = getattr(images, "min_pixels", None) or size.get("shortest_edge")
    return PixelBudget(patch * merge, max_pixels=min(filter(None, limits), default=None), min_pixels=min_pixels)


def vision_tower(model: Any) -> nn.Module:
    """The image encoder, projector excluded."""
    for name in ("visual", "vision_encoder", "vision_tower", "vision_model"):
        tower = getattr(model.model, name, None)
        if isinstance(tower, nn.Module):
            return tower
    raise ValueError(f"{type(model).__name__} has no vision tower that freeze_vision recognises; set it to false")


def with_lora(model: Any, config: ModelConfig, adapter: str | None) -> Any:
    """The model with a new adapter on every linear layer, or with a saved one."""
    from peft import LoraConfig, PeftModel, get_peft_model

    if adapter is not None:
        return PeftModel.from_pretrained(model, adapter, is_trainable=True)
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        exclude_modules=r".*(visual|vision_encoder|vision_tower|vision_model).*" if config.freeze_vision else None,
    )
    return get_peft_model(model, lora)


def check_adapter(config: ModelConfig, saved: Mapping[str, Any]) -> None:
    """Raises ValueError if the recipe asks for another rank or scaling than the saved adapter has.

    Args:
        saved: the adapter's own adapter_config.json.
    """
    for key, own in (("lora_rank", saved["r"]), ("lora_alpha", saved["lora_alpha"])):
        value = getattr(config, key)
        if config.lora_rank and value != own:
            raise ValueError(
                f'model.{key} is {value}, but the adapter "{config.path}" has {own}, which stays; write {own}, or '
                "model.lora_rank = 0 to take both from the adapter"
            )


def base_of(adapter: Path, saved: Mapping[str, Any]) -> str:
    """The base model of an adapter: "tiny", a folder, perhaps relative to the folder `adapter`, or a hub id.

    Raises:
        ValueError: it is a folder that is not there.
    """
    base = str(saved["base_model_name_or_path"])
    if base != "tiny" and (adapter / base).is_dir():
        return str(adapter / base)
    path_like = base.startswith(("/", ".")) or base.count("/") > 1
    if path_like and not Path(base).is_dir():
        raise ValueError(
            f'model.path "{adapter}" is an adapter, and its base model "{base}" is not there; put it there, or correct '
            f"base_model_name_or_path in {adapter / ADAPTER}"
        )
    return base


def store_base(adapter: Path, tiny: Path) -> None:
    """Name the base in a saved adapter so that it is found elsewhere: "tiny", or a path relative to the adapter."""
    file = adapter / ADAPTER
    saved = json.loads(file.read_text(encoding="utf-8"))
    base = Path(saved["base_model_name_or_path"])
    if base == tiny:
        saved["base_model_name_or_path"] = "tiny"
    elif base.is_dir() and not base.is_absolute():
        saved["base_model_name_or_path"] = os.path.relpath(base.resolve(), adapter.resolve())
    else:
        return
    file.write_text(json.dumps(saved, indent=2, sort_keys=True), encoding="utf-8")


def token_ids(value: Any) -> list[int]:
    """A checkpoint gives a special token as None, an id or a list of ids."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]

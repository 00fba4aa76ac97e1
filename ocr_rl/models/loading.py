"""Loading a checkpoint: its pixel budget, vision tower, adapters and special tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from ocr_rl.models.pixels import PixelBudget

if TYPE_CHECKING:
    from ocr_rl.config.schema import ModelConfig


def pixel_budget(processor: Any, max_pixels: int | None) -> PixelBudget:
    """The budget of the processor's own image processor, lowered to `max_pixels` if that is less."""
    images = processor.image_processor
    size = dict(images.size) if images.size else {}
    patch = images.patch_size
    patch = patch["height"] if isinstance(patch, Mapping) else getattr(patch, "height", patch)
    merge = getattr(images, "merge_size", None)
    if merge is None:  # Pixtral's image processor counts merged patches already
        longest, line = size.get("longest_edge"), getattr(images, "line_height", None)
        return PixelBudget(patch, longest_edge=longest, max_pixels=max_pixels, line_height=line)
    most = getattr(images, "max_pixels", None) or size.get("longest_edge")
    least = getattr(images, "min_pixels", None) or size.get("shortest_edge")
    most = min(most, max_pixels) if most and max_pixels else most or max_pixels
    return PixelBudget(patch * merge, max_pixels=most, min_pixels=least)


def vision_tower(model: Any) -> nn.Module:
    """The image encoder, projector excluded."""
    for name in ("visual", "vision_encoder", "vision_tower", "vision_model"):
        tower = getattr(model.model, name, None)
        if isinstance(tower, nn.Module):
            return tower
    raise ValueError(f"{type(model).__name__} has no vision tower that freeze_vision knows; set it to false")


def _with_lora(model: Any, config: ModelConfig, adapter: str | None) -> Any:
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


def _ids(value: Any) -> list[int]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]

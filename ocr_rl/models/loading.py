"""What `Policy` needs to know about a checkpoint: pixel budget, vision tower, adapter, special tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from ocr_rl.models.pixels import PixelBudget

if TYPE_CHECKING:
    from ocr_rl.config.schema import ModelConfig


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


def token_ids(value: Any) -> list[int]:
    """A checkpoint gives a special token as None, an id or a list of ids."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]

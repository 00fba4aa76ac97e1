"""What `Policy` needs to know about a checkpoint: pixel budget, vision tower, special tokens."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ocr_rl.models.pixels import PixelBudget


def pixel_budget(processor: Any, max_pixels: int | None, longest_side: int | None = None) -> PixelBudget:
    """The budget of the checkpoint's image processor, lowered to `max_pixels` and `longest_side` if they are less.

    A processor that takes any page and scales or cuts it to squares itself has no budget.

    Raises:
        ValueError: the processor cannot keep to `max_pixels` or `longest_side`.
    """
    images = processor.image_processor
    size = dict(getattr(images, "size", None) or {})
    patch = getattr(images, "patch_size", None)
    patch = patch["height"] if isinstance(patch, Mapping) else getattr(patch, "height", patch)
    merge = getattr(images, "merge_size", None)
    largest = getattr(images, "max_pixels", None) or size.get("longest_edge")
    if patch is None or largest is None:
        for key, value in (("max_pixels", max_pixels), ("longest_side", longest_side)):
            if value:
                raise ValueError(
                    f"model.{key} is {value}, but {type(images).__name__} scales each page to its own size, so "
                    f"that fewer pixels would only blur it; write model.{key} = 0"
                )
        return PixelBudget(1)
    if merge is None:  # like Pixtral, whose patch may be a merged one already
        merged = (getattr(processor, "patch_size", None) or patch) * getattr(processor, "spatial_merge_size", 1)
        multiple = math.lcm(patch, merged)
        largest = min(filter(None, (largest, longest_side)))
        edge = largest if multiple == patch else largest - largest % multiple
        check_max_pixels(max_pixels, multiple * multiple)
        own = {name: getattr(images, name, None) for name in ("line_height", "page_pixels")}
        return PixelBudget(multiple, longest_edge=edge, max_pixels=max_pixels, **own)
    min_pixels = getattr(images, "min_pixels", None) or size.get("shortest_edge")
    check_max_pixels(max_pixels, max(min_pixels or 0, (patch * merge) ** 2))
    if longest_side and min_pixels and longest_side**2 < min_pixels:
        raise ValueError(
            f"model.longest_side is {longest_side}, but the model's processor gives a page at least {min_pixels} "
            f"pixels; write {math.isqrt(min_pixels - 1) + 1} or more"
        )
    patches = getattr(images, "get_number_of_image_patches", None)
    return PixelBudget(
        patch * merge,
        longest_side=longest_side and max(patch * merge, longest_side - longest_side % (patch * merge)),
        max_pixels=min(filter(None, [largest, max_pixels]), default=None),
        min_pixels=min_pixels,
        pixels_of=None
        if patches is None
        else lambda width, height: np.prod(patches(height, width, {})) * patch * patch,
    )


def check_max_pixels(max_pixels: int | None, minimum: int) -> None:
    """Raises ValueError if the recipe asks for fewer pixels than a page has at least."""
    if max_pixels and max_pixels < minimum:
        raise ValueError(
            f"model.max_pixels is {max_pixels}, but the model's processor gives a page at least {minimum} pixels; "
            f"write {minimum} or more"
        )


def vision_tower(model: Any) -> nn.Module:
    """The image encoder, projector excluded."""
    for name in ("visual", "vision_encoder", "vision_tower", "vision_model"):
        tower = getattr(model.model, name, None)
        if isinstance(tower, nn.Module):
            return tower
    raise ValueError(f"{type(model).__name__} has no vision tower that freeze_vision recognises; set it to false")


def token_ids(value: Any) -> list[int]:
    """A checkpoint gives a special token as None, an id or a list of ids."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def check_model(model: Any, processor: Any, path: str) -> None:
    """Raises ValueError for a model that cannot be trained here, with the reason."""
    if getattr(model.config, "is_encoder_decoder", False):
        reason = "it is an encoder-decoder; give a model whose decoder reads image and text in one sequence"
    elif not isinstance(getattr(model, "model", None), nn.Module):
        reason = f"{type(model).__name__} has no `.model` that the output layer follows"
    elif not getattr(processor, "chat_template", None):
        reason = (
            "it has no chat template; write the checkpoint's prompt format to a file that model.chat_template names"
        )
    else:
        return
    raise ValueError(f'model.path "{path}": {reason}')


def load_error(error: Exception, path: str) -> str:
    """Why a checkpoint cannot be loaded, in one line."""
    reason = str(error).strip()
    if "trust_remote_code" in reason:
        return "it needs code from its own folder; read that code, then write model.trust_remote_code = true"
    file = Path(path) / "config.json"
    auto = json.loads(file.read_text()).get("auto_map", {}) if file.is_file() else {}
    if "AutoModelForCausalLM" in auto and "AutoModelForImageTextToText" not in auto:
        return "its own code has a causal language model only (AutoModelForCausalLM), which takes no image here"
    return reason.split("\n")[0]

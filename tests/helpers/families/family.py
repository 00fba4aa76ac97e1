"""What a row of the tables says, and settings that several rows share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    classes: str
    """Qwen2_5_VL: Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor."""
    images: str
    """The image processor, without "ImageProcessor"."""
    image_settings: Settings
    vision: Settings
    text: Settings = field(default_factory=dict)
    """What differs from helpers.families.building."""
    config: Settings = field(default_factory=dict)
    prompt: tuple[str, str, str] = ("", "<image>", "\n")
    """What the chat template writes: before the content, for an image, after the content."""
    has_template: bool = True
    end: str = "</s>"
    config_ids: Settings = field(default_factory=dict)
    """Keys of the config that hold the id of a special token, or of several."""
    names: Settings = field(default_factory=dict)
    """Attributes of the tokenizer that hold a special token."""
    tokens: str = ""
    """Further special tokens."""
    processor: str = ""
    """The processor's class, where it is not named after the family."""
    processor_settings: Settings = field(default_factory=dict)
    video: str = ""
    """The processor's part for videos, without "VideoProcessor"."""


def pairs(text: str) -> dict[str, str]:
    """ "a <x> b <y>" -> {"a": "<x>", "b": "<y>"}."""
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def chatml(image: str, system: str = "") -> tuple[str, str, str]:
    before = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    return f"{before}<|im_start|>user\n", image, "<|im_end|>\n<|im_start|>assistant\n"


HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
VIT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14}
HEAD = {"head_dim": 32}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
MROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]}
INTERLEAVED = MROPE | {"mrope_interleaved": True}
LINEAR = {
    "num_hidden_layers": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "rope_parameters": INTERLEAVED | {"partial_rotary_factor": 1.0},
}

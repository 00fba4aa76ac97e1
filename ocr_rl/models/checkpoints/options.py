"""Settings of [model] as arguments of `from_pretrained`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from ocr_rl.config.schema import ModelConfig


def load_options(config: ModelConfig, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """How attention is computed, and how frozen weights are kept.

    Raises:
        ValueError: bitsandbytes is not installed.
    """
    options: dict[str, Any] = {}
    if config.attn_implementation != "auto":
        options["attn_implementation"] = config.attn_implementation
    if config.quantize:
        check_bitsandbytes("model.quantize", config.quantize)
        from transformers import BitsAndBytesConfig

        options["device_map"] = {"": device}
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=config.quantize,
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    return options


def keep_packed(model: torch.nn.Module) -> None:
    """Quantised weights stay as they were loaded.

    On processors with bfloat16 units bitsandbytes repacks them in the first pass without gradients, which fails where
    a width is no multiple of 64, and would be saved.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def check_bitsandbytes(key: str, value: str, *, needed: bool = True) -> None:
    """Raises ValueError if it is needed and not installed."""
    if needed and find_spec("bitsandbytes") is None:
        raise ValueError(f'{key} is "{value}", but bitsandbytes is not installed: pip install bitsandbytes')


def attention_error(config: ModelConfig, error: Exception) -> str | None:
    """The message for a value of attn_implementation that transformers refuses; None for another error."""
    reason = " ".join(str(error).split())
    if config.attn_implementation == "auto" or "attention" not in reason.lower().replace("attn", "attention"):
        return None
    return f'model.attn_implementation is "{config.attn_implementation}": {reason}; or write "sdpa", or "auto"'

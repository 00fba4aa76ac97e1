"""Exports the policy's weights under the names of its checkpoint, with an adapter merged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers.core_model_loading import revert_weight_conversion

from ocr_rl.models.policy import Policy


def checkpoint_tensors(policy: Policy) -> Iterator[tuple[str, Tensor]]:
    """The current weights under the names that `Policy.save` writes, tied ones once, LoRA merged in float32.

    Merged weights are computed during iteration; all others are the policy's own tensors, not copies.
    """
    tied = getattr(policy.base, "all_tied_weights_keys", None) or {}
    adapted: dict[int, Any] = {}
    if policy.base is not policy.model:
        from peft.tuners.lora import LoraLayer

        layers = [module for module in policy.base.modules() if isinstance(module, LoraLayer)]
        adapted = {layer.get_base_layer().weight.data_ptr(): layer for layer in layers}
    state = {
        name.replace(".base_layer.", "."): t for name, t in policy.base.state_dict().items() if ".lora_" not in name
    }
    state = {name: t for name, t in state.items() if not _is(t, state.get(tied.get(name, "")))}
    for name, tensor in revert_weight_conversion(policy.base, state).items():
        layer = adapted.pop(tensor.data_ptr(), None)
        yield name, tensor if layer is None else _merged(layer)
    assert not adapted, f"{len(adapted)} adapted layers have another form in the checkpoint and cannot be merged"


def _is(tensor: Tensor, other: Tensor | None) -> bool:
    return other is not None and other.data_ptr() == tensor.data_ptr()


@torch.no_grad()
def _merged(layer: Any) -> Tensor:
    """W + scaling * B A, over the active adapters."""
    weight: Tensor = layer.get_base_layer().weight.float()
    for adapter in layer.active_adapters:
        weight = weight + layer.get_delta_weight(adapter).float()
    return weight

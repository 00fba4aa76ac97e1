"""Exports the policy's weights under the names of its checkpoint, with an adapter merged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers.core_model_loading import revert_weight_conversion

from ocr_rl.models.divided_tensors import is_divided, whole
from ocr_rl.models.policy import Policy


def checkpoint_tensors(policy: Policy) -> Iterator[tuple[str, Tensor]]:
    """The current weights under the names that `Policy.save` writes, tied ones once, LoRA merged in float32.

    Merged weights are computed during iteration; all others are the policy's own tensors, not copies. Divided weights
    are gathered one at a time: all processes iterate together.
    """
    place = None if policy.shards is None else policy.shards.device
    if policy.shards is not None:
        policy.shards.drop()
    tied = getattr(policy.base, "all_tied_weights_keys", None) or {}
    adapted: dict[str, Any] = {}
    if policy.base is not policy.model:
        from peft.tuners.lora import LoraLayer

        named = policy.base.named_modules()
        adapted = {f"{name}.weight": module for name, module in named if isinstance(module, LoraLayer)}
    state = {
        name.replace(".base_layer.", "."): t
        for name, t in policy.base.state_dict(keep_vars=True).items()
        if ".lora_" not in name
    }
    state = {name: t for name, t in state.items() if tied.get(name) not in state or state[tied[name]] is not t}
    stand_ins = {name: torch.empty_like(t, device="meta") for name, t in state.items()}
    source = {id(stand_in): name for name, stand_in in stand_ins.items()}
    renamed = revert_weight_conversion(policy.base, stand_ins)
    changed: dict[str, Tensor] = {}
    if any(id(stand_in) not in source for stand_in in renamed.values()):  # e.g. experts that are stored apart
        changed = revert_weight_conversion(policy.base, {name: whole(t.detach(), place) for name, t in state.items()})
    for name, stand_in in renamed.items():
        own = source.get(id(stand_in))
        layer = adapted.pop(own or "", None)
        if layer is not None:
            yield name, _merged(layer, place)
        else:
            yield name, changed[name] if own is None else whole(state[own].detach(), place)
    assert not adapted, f"{len(adapted)} adapted layers have another form in the checkpoint and cannot be merged"


@torch.no_grad()
def _merged(layer: Any, place: torch.device | None) -> Tensor:
    """W + scaling * B A, over the active adapters; divided weights are gathered at `place`."""
    stored = layer.get_base_layer().weight
    weight = whole(stored, place).float()
    for adapter in layer.active_adapters:
        weight = (
            weight + (_delta(layer, adapter, place) if is_divided(stored) else layer.get_delta_weight(adapter)).float()
        )
    return weight


def _delta(layer: Any, adapter: str, place: torch.device | None) -> Tensor:
    """scaling * B A of a divided linear layer."""
    b, a = (whole(part[adapter].weight, place) for part in (layer.lora_B, layer.lora_A))
    delta: Tensor = b @ a * layer.scaling[adapter]
    return delta

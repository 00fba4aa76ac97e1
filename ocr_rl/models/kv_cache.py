"""KV caches that continue from a prompt which all completions of a page share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from transformers.cache_utils import (
    DynamicCache,
    DynamicLayer,
    LinearAttentionCacheLayerMixin,
    LinearAttentionLayer,
)


class AppendingLayer(DynamicLayer):  # type: ignore[misc]
    """A cache layer that grows token by token: it allocates room for many at a time instead of copying for each.

    It appends in place, so no gradient may flow through it.
    """

    ROOM = 64
    """Tokens to allocate at a time."""
    keys: Tensor
    values: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._allocated: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        if self._allocated is None or end > self._allocated[0].shape[-2]:
            more = (0, 0, 0, end - start + self.ROOM)
            self._allocated = nn.functional.pad(self.keys, more), nn.functional.pad(self.values, more)
        keys, values = self._allocated
        keys[:, :, start:end] = key_states
        values[:, :, start:end] = value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        self._allocated = None


class StateLayer(LinearAttentionLayer):  # type: ignore[misc]
    """Convolution and recurrent states that are replaced, never written in place: completions share the prompt's."""

    def update_conv_state(
        self, conv_states: Tensor, state_idx: int = 0, conv_kernel_size: int | None = None, **_: Any
    ) -> Tensor:
        size = self.conv_kernel_size[state_idx] or conv_kernel_size or conv_states.shape[-1]
        self.conv_kernel_size[state_idx] = size
        if self.has_previous_state[state_idx]:
            conv_states = torch.cat([self.conv_states[state_idx], conv_states], dim=-1)
        elif conv_states.shape[-1] < size:
            conv_states = nn.functional.pad(conv_states, (size - conv_states.shape[-1], 0))
        self.conv_states[state_idx] = conv_states[..., -size:]
        self.is_conv_states_initialized[state_idx] = self.has_previous_state[state_idx] = True
        return conv_states

    def update_recurrent_state(self, recurrent_states: Tensor, state_idx: int = 0, **_: Any) -> Tensor:
        self.recurrent_states[state_idx] = recurrent_states
        self.is_recurrent_states_initialized[state_idx] = True
        return recurrent_states

    def batch_select_indices(self, indices: Tensor) -> None:
        for states in (self.conv_states, self.recurrent_states):
            states.update({i: t[indices] for i, t in states.items() if t is not None})


Layer: TypeAlias = DynamicLayer | StateLayer


def empty_layers(config: Any) -> list[Layer]:
    """An empty layer for each of a model's: plain ones also for sliding windows, which the model's own mask keeps."""
    return [
        StateLayer(layer.number_of_states) if isinstance(layer, LinearAttentionCacheLayerMixin) else DynamicLayer()
        for layer in DynamicCache(config=config).layers
    ]


def layer_tensors(layer: Layer) -> tuple[Tensor, ...]:
    """Keys and values, or the states."""
    if isinstance(layer, StateLayer):
        states = [*layer.conv_states.values(), *layer.recurrent_states.values()]
        return tuple(state for state in states if state is not None)
    return layer.keys, layer.values


def layer_of(like: Layer, tensors: Sequence[Tensor], kind: type[DynamicLayer] = DynamicLayer) -> Layer:
    """A layer that starts from these tensors, without a copy; `kind` where it holds keys and values."""
    if not isinstance(like, StateLayer):
        layer = kind()
        layer.lazy_initialization(*tensors)
        layer.keys, layer.values = tensors
        return layer
    states = StateLayer(like.number_of_states)
    rest = iter(tensors)
    states.conv_states = {i: None if t is None else next(rest) for i, t in like.conv_states.items()}
    states.recurrent_states = {i: None if t is None else next(rest) for i, t in like.recurrent_states.items()}
    for name in (
        "conv_kernel_size",
        "has_previous_state",
        "is_conv_states_initialized",
        "is_recurrent_states_initialized",
    ):
        setattr(states, name, dict(getattr(like, name)))
    states.dtype, states.device = tensors[0].dtype, tensors[0].device
    return states


def cache_of(layers: Sequence[Layer]) -> DynamicCache:
    """A cache of these layers."""
    cache = DynamicCache()
    cache.layers = list(layers)
    return cache

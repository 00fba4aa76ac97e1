"""KV caches that continue from a prompt which all completions of a page share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, DynamicLayer


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


def cache_of(keys_values: Sequence[tuple[Tensor, Tensor]], kind: type[DynamicLayer] = DynamicLayer) -> DynamicCache:
    """A cache that starts from these keys and values, without a copy."""
    cache = DynamicCache()
    for keys, values in keys_values:
        layer = kind()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache

"""A KV cache of the shared prompt that completions are appended to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, DynamicLayer


class AppendingLayer(DynamicLayer):  # type: ignore[misc]
    """A layer of a cache that grows token by token: it makes room for many at a time instead of being copied for each.

    Appends in place, so not for what a gradient flows through.
    """

    ROOM = 64
    """Tokens that room is made for at a time."""
    keys: Tensor
    values: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._roomy: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        if self._roomy is None or end > self._roomy[0].shape[-2]:
            more = (0, 0, 0, end - start + self.ROOM)
            self._roomy = nn.functional.pad(self.keys, more), nn.functional.pad(self.values, more)
        keys, values = self._roomy
        keys[:, :, start:end] = key_states
        values[:, :, start:end] = value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        self._roomy = None


def cache_of(keys_values: Sequence[tuple[Tensor, Tensor]], kind: type[DynamicLayer] = DynamicLayer) -> DynamicCache:
    """A cache that continues from these keys and values without copying them first."""
    cache = DynamicCache()
    for keys, values in keys_values:
        layer = kind()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache

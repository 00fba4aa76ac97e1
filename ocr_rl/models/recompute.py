"""Activation checkpointing that works with a shared prompt.

Every layer that transformers can checkpoint is recomputed in the backward pass, together with its entry of the cache:
the entry is made inside the recomputed function, so that the second run starts where the first one did.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.cache_utils import DynamicCache
from transformers.modeling_layers import GradientCheckpointingLayer

from ocr_rl.models.kv_cache import Layer


class RecomputedCache(DynamicCache):  # type: ignore[misc]
    """A cache that can make each of its layers anew, as it was before the forward pass."""

    def __init__(self, start: Callable[[int], Layer], length: int) -> None:
        super().__init__()
        self.start, self.length = start, length
        self.layers = [start(i) for i in range(length)]

    def restart(self, i: int) -> None:
        """Make layer i anew."""
        if not self.layers:  # what the forward pass appended has been dropped
            self.layers = [self.start(i) for i in range(self.length)]
        self.layers[i] = self.start(i)


def recompute_layers(model: nn.Module) -> None:
    """Recompute each layer in the backward pass. Forward passes without gradient stay as they are."""
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            index = next(
                (m.layer_idx for m in module.modules() if isinstance(getattr(m, "layer_idx", None), int)), None
            )
            module.forward = partial(_run, module.forward, index)


def _run(forward: Callable[..., Any], index: int | None, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    cache = kwargs.get("past_key_values")

    def run(*args: Any) -> Any:
        if isinstance(cache, RecomputedCache) and index is not None and index < cache.length:
            cache.restart(index)
        return forward(*args, **kwargs)

    return checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False)

"""torch.compile of the decoder, a layer at a time."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

GRAPHS = 4
"""Of a layer: with and without gradient, for a prompt and for what follows it."""


def compile_decoder(model: Any) -> None:
    """Compile each layer of the decoder, for any number of rows and tokens.

    A layer's number is a constant of its graph, so the graphs of one function are as many as its layers, and more than
    torch.compile makes by default.
    """
    layers: list[nn.Module] = [m for m in model.get_decoder().modules() if isinstance(m, GradientCheckpointingLayer)]
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, GRAPHS * len(layers))
    limits.accumulated_recompile_limit = max(limits.accumulated_recompile_limit, 2 * limits.recompile_limit)
    for layer in layers:  # not the bound method: a copy of the model has to run the copy's layers
        layer.forward = partial(torch.compile(type(layer).forward, dynamic=True), layer)

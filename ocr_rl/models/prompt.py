"""Types: a page as model inputs, its cached keys and values, and the scores of completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ocr_rl.models.kv_cache import Layer, layer_tensors


class TokenScores(NamedTuple):
    logprobs: Tensor
    """(B, T) log pi(token), 0 where masked out."""
    entropy: Tensor
    """(B, T) of the next-token distribution, without gradient, 0 where masked out."""
    hidden: Tensor
    """(B, T, D) last hidden states, from which the tokens are predicted."""


@dataclass(frozen=True)
class Prompt:
    """A page as the model's inputs, on the CPU: pixels, and token ids with one for each part of the image."""

    inputs: Mapping[str, Tensor]

    @property
    def token_ids(self) -> list[int]:
        ids: list[int] = self.inputs["input_ids"][0].tolist()
        return ids

    def __len__(self) -> int:
        return self.inputs["input_ids"].shape[1]


@dataclass(frozen=True)
class PromptState:
    """A prompt after a forward pass, which completions continue from. All tensors have batch size 1."""

    layers: Sequence[Layer]
    """Per layer keys and values (1, heads, N, head size), or the states of a linear attention or a convolution."""
    last_hidden: Tensor
    """(1, 1, D): predicts the first token."""
    length: int
    """N, the tokens of the prompt."""
    next_position: int
    """Position of the first completion token; not N for models with M-RoPE."""
    outputs: tuple[Tensor, ...] = ()
    """The tensors above, still attached to the prompt's graph; empty without gradient."""

    def tensors(self) -> list[Tensor]:
        return [t for layer in self.layers for t in layer_tensors(layer)] + [self.last_hidden]

    def backward(self) -> None:
        """Propagate the gradients that the completions left in the cache to the prompt and the vision tower."""
        pairs = [
            (output, leaf.grad)
            for output, leaf in zip(self.outputs, self.tensors(), strict=True)
            if leaf.grad is not None
        ]
        if pairs:
            outputs, grads = zip(*pairs, strict=True)
            torch.autograd.backward(outputs, grads)

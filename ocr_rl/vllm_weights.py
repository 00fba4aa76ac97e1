"""The policy's weights on their way to the engine: named as in its checkpoint, in pieces through a shared buffer."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.core_model_loading import revert_weight_conversion

from ocr_rl.models.policy import Policy

BUFFER_BYTES = 2**28
"""Of the buffer on a GPU that the weights pass through, unless one tensor alone is larger."""
ALIGNMENT = 64


class Piece(NamedTuple):
    """A tensor that lies in the buffer."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int

    def of(self, buffer: Tensor) -> Tensor:
        """Its place in the buffer, without a copy."""
        size = self.dtype.itemsize * math.prod(self.shape)
        return buffer[self.offset : self.offset + size].view(self.dtype).view(self.shape)


def checkpoint_tensors(policy: Policy) -> Iterator[tuple[str, Tensor]]:
    """The current weights under the names that `Policy.save` writes them by, tied ones once, LoRA merged in float32.

    A merged weight is made when it is asked for; all others are the policy's own.
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
    assert not adapted, f"{len(adapted)} adapted layers are stored in another form in the checkpoint: cannot be merged"


def _is(tensor: Tensor, other: Tensor | None) -> bool:
    return other is not None and other.data_ptr() == tensor.data_ptr()


@torch.no_grad()
def _merged(layer: Any) -> Tensor:
    """W + scaling * B A, over the active adapters."""
    weight: Tensor = layer.get_base_layer().weight.float()
    for adapter in layer.active_adapters:
        weight = weight + layer.get_delta_weight(adapter).float()
    return weight


class SharedWeights:
    """A copy of the policy's weights in host memory that every worker maps: a new one takes over what the last one had.

    Attributes:
        descriptors: what a worker inherits and maps.
    """

    def __init__(self, policy: Policy) -> None:
        descriptor = os.memfd_create("ocr-rl-weights")
        os.ftruncate(descriptor, sum(_room(tensor) for tensor in policy.base.state_dict().values()))
        self.descriptors = [descriptor]
        self._buffer = mapped(descriptor)
        self._pieces: list[Piece] = []

    def take(self, policy: Policy) -> None:
        (self._pieces,) = fill(self._buffer, checkpoint_tensors(policy))

    def open(self) -> Tensor | None:
        """The buffer to send to the worker; None where it has it."""
        return None

    def pieces(self) -> Iterator[list[Piece]]:
        """What lies in the buffer, until the next list is asked for."""
        yield self._pieces

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


class CudaWeights:
    """The policy's weights as they are when a worker asks, through a buffer on the GPU (CUDA IPC).

    A worker that is replaced between an update and the next sync gets the weights of after the update. Not yet run on
    a GPU.
    """

    def __init__(self, policy: Policy) -> None:
        self.descriptors: list[int] = []
        sizes = [_room(tensor) for tensor in policy.base.state_dict().values()]
        self._size = max(*sizes, min(sum(sizes), BUFFER_BYTES))
        self._policy = policy
        self._buffer: Tensor | None = None

    def take(self, policy: Policy) -> None:
        self._policy = policy

    def open(self) -> Tensor | None:
        self._buffer = torch.empty(self._size, dtype=torch.uint8, device=self._policy.device)
        return self._buffer

    def pieces(self) -> Iterator[list[Piece]]:
        assert self._buffer is not None
        for pieces in fill(self._buffer, checkpoint_tensors(self._policy)):
            torch.cuda.synchronize(self._buffer.device)
            yield pieces
        self._buffer = None

    def close(self) -> None:
        self._buffer = None


def mapped(descriptor: int) -> Tensor:
    """The file's bytes as a tensor (size,), shared with every process that maps it."""
    return torch.frombuffer(mmap.mmap(descriptor, os.fstat(descriptor).st_size), dtype=torch.uint8)


def fill(buffer: Tensor, tensors: Iterable[tuple[str, Tensor]]) -> Iterator[list[Piece]]:
    """Copy tensors into the buffer until it is full, say what is in it, and begin anew when asked on."""
    pieces: list[Piece] = []
    used = 0
    for name, tensor in tensors:
        if pieces and used + tensor.nbytes > len(buffer):
            yield pieces
            pieces, used = [], 0
        piece = Piece(name, tensor.dtype, tuple(tensor.shape), used)
        piece.of(buffer).copy_(tensor.detach())
        pieces.append(piece)
        used += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    yield pieces


def _room(tensor: Tensor) -> int:
    """Bytes that it takes at most: merged with an adapter it is float32."""
    return ALIGNMENT + tensor.numel() * max(4, tensor.itemsize)

"""Sends the policy's weights to the worker: named as in its checkpoint, in pieces through a shared buffer."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ocr_rl.models.checkpoints.weight_export import checkpoint_tensors
from ocr_rl.models.policy import Policy

BUFFER_BYTES = 2**28
"""Size of the buffer on a GPU, unless one tensor is larger."""
ALIGNMENT = 64


class Piece(NamedTuple):
    """Where a tensor lies in the buffer."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int

    def of(self, buffer: Tensor) -> Tensor:
        """The tensor itself, not a copy."""
        size = self.dtype.itemsize * math.prod(self.shape)
        return buffer[self.offset : self.offset + size].view(self.dtype).view(self.shape)


class SharedWeights:
    """A copy of the policy's weights in host memory that every worker maps: a new one reads what the last one read.

    Attributes:
        descriptors: files that a worker inherits and maps.
    """

    def __init__(self, policy: Policy) -> None:
        descriptor = os.memfd_create("ocr-rl-weights")
        self._size = sum(_space(tensor) for tensor in policy.base.state_dict().values())
        os.ftruncate(descriptor, self._size)
        self.descriptors = [descriptor]
        self._buffer = mapped(descriptor)
        self._pieces: list[Piece] = []

    def take(self, policy: Policy) -> None:
        (self._pieces,) = fill(self._buffer, checkpoint_tensors(policy))

    def release(self) -> None:
        """Free the copy, until the next `take`."""
        for descriptor in self.descriptors:
            os.ftruncate(descriptor, 0)
            os.ftruncate(descriptor, self._size)

    def open(self) -> Tensor | None:
        """The buffer to send to the worker; None if it has it already."""
        return None

    def pieces(self) -> Iterator[list[Piece]]:
        """What is in the buffer, valid until the next list."""
        yield self._pieces

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


class CudaWeights:
    """The policy's current weights, through a buffer on the GPU (CUDA IPC). Not yet run on a GPU.

    A worker that is replaced between an update and the next sync gets the weights after the update.
    """

    def __init__(self, policy: Policy) -> None:
        self.descriptors: list[int] = []
        sizes = [_space(tensor) for tensor in policy.base.state_dict().values()]
        self._size = max(*sizes, min(sum(sizes), BUFFER_BYTES))
        self._policy: Policy | None = policy
        self._buffer: Tensor | None = None

    def take(self, policy: Policy) -> None:
        self._policy = policy

    def release(self) -> None:
        """Hold no policy, until the next `take`."""
        self._policy = None

    def open(self) -> Tensor | None:
        assert self._policy is not None
        self._buffer = torch.empty(self._size, dtype=torch.uint8, device=self._policy.device)
        return self._buffer

    def pieces(self) -> Iterator[list[Piece]]:
        assert self._buffer is not None
        assert self._policy is not None
        for pieces in fill(self._buffer, checkpoint_tensors(self._policy)):
            torch.cuda.synchronize(self._buffer.device)
            yield pieces
        self._buffer = None

    def close(self) -> None:
        self._buffer = None


def mapped(descriptor: int) -> Tensor:
    """The file's bytes as a tensor (size,), shared by every process that maps it."""
    return torch.frombuffer(mmap.mmap(descriptor, os.fstat(descriptor).st_size), dtype=torch.uint8)


def fill(buffer: Tensor, tensors: Iterable[tuple[str, Tensor]]) -> Iterator[list[Piece]]:
    """Copy tensors into the buffer until it is full, yield what is in it, and fill it again with the next ones."""
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


def _space(tensor: Tensor) -> int:
    """Upper bound of its bytes in the buffer: merged with an adapter it is float32."""
    return ALIGNMENT + tensor.numel() * max(4, tensor.itemsize)

"""Tensors that are divided over processes (DTensors), and plain ones alike."""

from __future__ import annotations

import torch
from torch import Tensor


def is_divided(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor, device: torch.device | None = None) -> Tensor:
    """The tensor with all its parts, which are gathered on the device, if one is given. All processes call this."""
    if not is_divided(tensor):
        return tensor
    part = tensor if device is None else tensor.to(device)
    result: Tensor = part.full_tensor()  # type: ignore[attr-defined]
    return result


def own_part(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, as the same memory."""
    if not is_divided(tensor):
        return tensor
    result: Tensor = tensor.to_local()  # type: ignore[attr-defined]
    return result


def same_part(tensor: Tensor, like: Tensor) -> Tensor:
    """The part of a whole `tensor` that this process holds of `like`."""
    if not is_divided(like):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    there = tensor.to(like.device_mesh.device_type)  # `like` itself may have been moved to the machine's memory
    part = distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)
    return part.to_local()

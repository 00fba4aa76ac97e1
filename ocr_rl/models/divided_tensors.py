"""Tensors that are divided over processes (DTensors), and plain ones alike."""

from __future__ import annotations

from torch import Tensor


def is_divided(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """The tensor with all its parts. All processes call this together."""
    if not is_divided(tensor):
        return tensor
    result: Tensor = tensor.full_tensor()  # type: ignore[attr-defined]
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
    part = distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    return part.to_local()

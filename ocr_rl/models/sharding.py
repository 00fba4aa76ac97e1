"""A policy whose weights, gradients and optimiser state are divided over the processes (FSDP2, `fully_shard`).

Each layer is gathered when it computes and dropped afterwards; its gradient is summed and divided in the backward pass.
Embedding, last norm and output layer are one more unit, gathered from the forward to the end of the backward pass.
With `offload` the parts, their gradients and the optimiser state are in the machine's memory, and a unit comes to the
GPU to be gathered there.

All processes have to make the same passes. Each pass takes its turn (`ocr_rl.distributed.take_turn`), and a process
without work for it makes it with an empty page, whose gradient is 0. So what learns from pages through a `PageReader`
needs not know how much work the other processes have.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from functools import cached_property
from types import MethodType
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from ocr_rl import distributed
from ocr_rl.models.divided_tensors import own_part, same_part, whole
from ocr_rl.models.prompt import Prompt, PromptState
from ocr_rl.types import Page


class Operation(IntEnum):
    """What the processes do together; where they are about to do different things, the highest goes first.

    A page's completions come before the page's end, and pages that some still read before a change of weights.
    """

    SWAP = 1
    READ_TO_LEARN = 2
    READ = 3
    CLOSE = 4
    HIDDEN = 5
    HIDDEN_TO_LEARN = 6
    SCORE = 7
    SCORE_TO_LEARN = 8
    GATHER = 9


class Shards:
    """This process's part of a policy's weights, and the policy's passes in step with the other processes'."""

    def __init__(self, policy: Any, mesh: Any, copied: nn.Module | None = None, *, offload: bool = False) -> None:
        """Divide the weights of `policy`, a `Policy`, in place. Those of the first process count.

        Args:
            mesh: from `mesh_of`.
            copied: a model that is divided already, whose weights to take instead.
            offload: keep this process's part in the machine's memory.
        """
        self.policy, self.mesh, self.offload = policy, mesh, offload
        self.device = torch.device(mesh.device_type)
        """Where the policy computes."""
        source = policy.model if copied is None else copied
        self._skeleton = _on_meta(policy.model)
        policy.model = copy.deepcopy(self._skeleton)
        policy.find_parts()
        self._units = divide(policy.base, mesh, policy.compute_dtype, offload)
        policy.model.to_empty(device="cpu" if offload else self.device)
        if offload:
            _buffers_to(policy.model, self.device)
        if copied is None:
            _spread(policy.model, source, self.device)
        else:
            _copy(policy.model, copied)
        policy.run = policy.base.run
        self._whole = False
        self._read: PromptState | None = None
        """The last page read without gradient, whose completions may still come."""
        self._open: PromptState | None = None
        """The page that is being learned from."""
        self._number = distributed.add_partner(self)

    def copy_for(self, other: Any) -> Shards:
        """Give `other`, a shallow copy of the policy, a model with the same weights."""
        self.drop()
        other.model = self._skeleton
        return Shards(other, self.mesh, self.policy.model, offload=self.offload)

    def read(self, prompt: Prompt, *, grad: bool = False) -> PromptState:
        """See `Policy.read`."""
        with self._turn(Operation.READ_TO_LEARN if grad else Operation.READ):
            return self._opened(prompt, grad)

    def hidden(self, state: PromptState, ids: Tensor, *, scored: bool = False) -> Tensor:
        """See `Policy.hidden`. `scored`: tokens are scored from them, by `Policy.score_hidden`, before anything else.

        With gradient, a backward pass follows before the next pass.
        """
        grad = torch.is_grad_enabled()
        operation = Operation.SCORE if scored else Operation.HIDDEN
        with self._turn(Operation(operation + grad), ends=not grad):
            hidden: Tensor = self.policy.hidden(state, ids)
            return hidden

    def close(self, state: PromptState) -> None:
        """See `PromptState.backward`."""
        with self._turn(Operation.CLOSE):
            state.backward()

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Every process holds all weights while this lasts, so that it can compute without the others."""
        with self._turn(Operation.GATHER):
            self._gather()
        self._whole = True
        try:
            yield
        finally:
            self._whole = False
            self._scatter()

    def weights(self, *, adapter: bool) -> dict[str, Tensor]:
        """All weights, or those of the adapter, on the CPU of the first process; others get none of them."""
        self.drop()
        found: dict[int, Tensor] = {}
        named: dict[str, Tensor] = {}
        for name, tensor in self.policy.model.state_dict(keep_vars=True).items():
            if adapter and ".lora_" not in name:
                continue
            if id(tensor) not in found:  # tied weights stay one tensor
                all_of_it = whole(tensor.detach(), self.device)
                found[id(tensor)] = all_of_it.cpu() if distributed.first() else all_of_it[:0]
            named[name] = found[id(tensor)]
        return named if distributed.first() else {}

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over whole weights, which every process has, in place."""
        self.drop()
        own = self.policy.model.state_dict(keep_vars=True)
        assert own.keys() == weights.keys()
        for name, tensor in own.items():
            own_part(tensor.detach()).copy_(same_part(weights[name], tensor))

    def join(self, operation: int) -> None:
        """Make a pass of other processes with an empty page."""
        if operation == Operation.GATHER:
            self._gather()
            self._scatter()
        elif operation in (Operation.READ, Operation.READ_TO_LEARN):
            self._opened(self._prompt, operation == Operation.READ_TO_LEARN)
        elif operation == Operation.CLOSE:
            assert self._open is not None
            self._open.backward()
        else:
            self._join_completions(Operation(operation))

    def rest(self) -> None:
        """No page is being read, and weights may change now."""
        self._read = self._open = None
        self.drop()

    def drop(self) -> None:
        """Drop what was gathered, which a change of the weights would not change."""
        assert not self._whole
        for unit in self._units:
            unit.reshard()
        if self.offload and self.device.type == "cuda":  # weights may still be on their way there
            torch.cuda.synchronize(self.device)

    def _join_completions(self, operation: Operation) -> None:
        grad = operation in (Operation.HIDDEN_TO_LEARN, Operation.SCORE_TO_LEARN)
        state = self._open if grad else self._read
        assert state is not None
        ids, mask = torch.full((1, 2), self.policy.end_ids[0]), torch.ones(1, 2, dtype=torch.bool)
        with torch.set_grad_enabled(grad):
            if operation in (Operation.HIDDEN, Operation.HIDDEN_TO_LEARN):
                result = self.policy.hidden(state, ids)
            else:
                result = self.policy.score(state, ids, mask, 1.0).logprobs
            if grad:
                (result.sum() * 0).backward()

    def _opened(self, prompt: Prompt, grad: bool) -> PromptState:
        state: PromptState = self.policy.read(prompt, grad=grad)
        if grad:
            self._open = state
        else:
            self._read = state
        return state

    @contextmanager
    def _turn(self, operation: Operation, *, ends: bool = True) -> Iterator[None]:
        assert not self._whole
        distributed.take_turn(operation, self._number)
        yield
        if ends:
            distributed.end_turn()

    @cached_property
    def _prompt(self) -> Prompt:
        """The smallest page."""
        prompt: Prompt = self.policy.prompt(Page("empty", lambda: Image.new("RGB", (28, 28), "white")))
        return prompt

    def _gather(self) -> None:
        for unit in self._units:
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()

    def _scatter(self) -> None:
        for unit in self._units:
            unit.set_reshard_after_forward(unit is not self._units[0], recurse=False)
            unit.reshard()


def mesh_of(shard: str) -> Any:
    """The processes as `train.shard` divides weights over them; None for "none".

    Raises:
        ValueError: for "hybrid", all processes are on one machine, or the machines have different numbers of them.
    """
    from torch.distributed.device_mesh import init_device_mesh

    device = "cuda" if torch.cuda.is_available() else "cpu"
    processes, here = distributed.count(), distributed.on_this_machine()
    if shard == "none":
        return None
    if shard == "full":
        return init_device_mesh(device, (processes,))
    if processes == here or processes % here:
        raise ValueError(
            f'train.shard is "hybrid", but {here} of {processes} processes are on this machine; write "full", or start '
            "as many processes on each of several machines"
        )
    return init_device_mesh(device, (processes // here, here), mesh_dim_names=("replicate", "shard"))


def divide(base: Any, mesh: Any, compute_dtype: torch.dtype, offload: bool = False) -> list[Any]:
    """Divide a model's weights over the processes, in place. `base.run` then calls functions that use its weights.

    Returns the units that are gathered one at a time, that of the whole model first.
    """
    from torch.distributed.fsdp import (
        CPUOffloadPolicy,
        FSDPModule,
        MixedPrecisionPolicy,
        OffloadPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )

    precision = MixedPrecisionPolicy()
    if compute_dtype != torch.float32:  # gathered in this type; autocast decides what is computed in it
        precision = MixedPrecisionPolicy(compute_dtype, torch.float32, cast_forward_inputs=False)
    place = CPUOffloadPolicy(pin_memory=mesh.device_type == "cuda") if offload else OffloadPolicy()
    layers = [module for module in base.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=precision, offload_policy=place)
    fully_shard(base, mesh=mesh, mp_policy=precision, offload_policy=place, reshard_after_forward=False)
    # By default the unit that was last used before is gathered ahead, which may differ between processes.
    for before, layer in zip([base, base, *layers], [base, *layers], strict=False):
        layer.set_modules_to_backward_prefetch([before if type(before) is type(layer) else layer])
    units = [module for module in base.modules() if isinstance(module, FSDPModule)]
    for unit in units:
        # the loss has the denominators of all processes, so gradients are summed; gloo has no sum with a factor
        unit.set_force_sum_reduction_for_comms(True)
        unit.set_gradient_divide_factor(1.0)
    base.run = MethodType(lambda self, function, *args, **kwargs: function(*args, **kwargs), base)
    register_fsdp_forward_method(base, "run")
    return units


def _on_meta(model: nn.Module) -> nn.Module:
    """A copy of the model with weights and buffers on the meta device."""
    memo: dict[int, Any] = {id(buffer): torch.empty_like(buffer, device="meta") for buffer in model.buffers()}
    for weight in model.parameters():
        empty = torch.empty_like(weight, device="meta")
        memo[id(weight)] = nn.Parameter(empty, requires_grad=weight.requires_grad)
    return copy.deepcopy(model, memo)


def _buffers_to(model: nn.Module, device: torch.device) -> None:
    """Empty buffers there, where they are used; weights stay where they are."""
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = torch.empty_like(buffer, device=device)


@torch.no_grad()
def _spread(model: nn.Module, source: nn.Module, device: torch.device) -> None:
    """Give a divided model the weights and buffers of the first process's `source`, one at a time, by this device."""
    distributed.wait()
    for to, of in zip(model.buffers(), source.buffers(), strict=True):
        to.copy_(_of_first(of, device))
    for to, of in zip(model.parameters(), source.parameters(), strict=True):
        own_part(to).copy_(same_part(_of_first(of, device), to))


def _of_first(tensor: Tensor, device: torch.device) -> Tensor:
    """The first process's tensor, on the device."""
    if distributed.first():
        result = tensor.detach().to(device).contiguous()
    else:
        result = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
    distributed.send_from_first(result)
    return result


@torch.no_grad()
def _copy(model: nn.Module, source: nn.Module) -> None:
    """Give a divided model the weights and buffers of another one that is divided alike."""
    for to, of in zip(model.buffers(), source.buffers(), strict=True):
        to.copy_(of)
    for to, of in zip(model.parameters(), source.parameters(), strict=True):
        own_part(to).copy_(own_part(of))

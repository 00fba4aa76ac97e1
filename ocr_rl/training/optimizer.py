"""AdamW, the learning rate schedule, and a clipped step that refuses non-finite gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ocr_rl import distributed
from ocr_rl.config.schema import TrainConfig
from ocr_rl.errors import TrainingStoppedError
from ocr_rl.models.divided_tensors import is_divided, whole


def updates_made(optimizer: torch.optim.Optimizer) -> float:
    """Steps that the optimiser has made. If a batch stops after its first update, the weights have changed."""
    state: dict[str, Any] = next(iter(optimizer.state.values()), {})
    return float(state.get("step", 0))


def make_optimizer(parameters: Sequence[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW, its state in float32 or in blocks of 8 bits (Dettmers et al., arXiv 2110.02861).

    Raises ValueError if a trained weight is not float32.
    """
    for parameter in parameters:
        if parameter.dtype != torch.float32:
            raise ValueError(f"trained weights must be float32, found {parameter.dtype}: small steps would round away")
    beta1, beta2 = config.betas
    options: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (beta1, beta2),
        "weight_decay": config.weight_decay,
    }
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, fused=True, **options)
    from bitsandbytes import optim

    kind = {"adamw_8bit": optim.AdamW8bit, "paged_adamw_8bit": optim.PagedAdamW8bit}[config.optimizer]
    optimizer: torch.optim.Optimizer = kind(parameters, **options)
    return optimizer


def add_weights(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], rate_factor: float) -> None:
    """Train these too, at `rate_factor` times the learning rate."""
    # a fused kernel takes divided weights or whole ones
    for part in (False, True):
        if group := [parameter for parameter in parameters if is_divided(parameter) == part]:
            optimizer.add_param_group({"params": group, "rate_factor": rate_factor})


def learning_rate(step: int, config: TrainConfig) -> float:
    """Rate of a step (1-based): a linear warm-up, then constant, or linear or cosine decay to 0 after the last step."""
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    done = (step - 1 - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    shape = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return config.learning_rate * shape[config.schedule]


def clipped_step(
    optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], rate: float, max_norm: float
) -> float:
    """Sum the gradients over the processes, clip them to `max_norm` (0: no clipping), step, and clear them.

    Returns the norm before clipping.

    Raises:
        TrainingStoppedError: the gradient is not finite; the weights are unchanged.
    """
    distributed.sum_gradients(parameters)
    norm = _clip(parameters, max_norm or math.inf)
    if not math.isfinite(norm):
        optimizer.zero_grad(set_to_none=True)
        raise TrainingStoppedError(
            f"the gradient norm is {norm}; the weights before this update are kept. "
            "Try a lower train.learning_rate, or model.compute_dtype = float32"
        )
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_factor", 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm


def _clip(parameters: Sequence[nn.Parameter], max_norm: float) -> float:
    """Scale the gradients, some of which may be divided over processes, to a norm of at most `max_norm`.

    Returns the norm before.
    """
    divided = [parameter for parameter in parameters if is_divided(parameter)]
    if not divided:
        return float(torch.nn.utils.clip_grad_norm_(parameters, max_norm))
    rest = [parameter for parameter in parameters if not is_divided(parameter)]
    kinds = [kind for kind in (divided, rest) if any(parameter.grad is not None for parameter in kind)]
    norms = [whole(get_total_norm([p.grad for p in kind if p.grad is not None])) for kind in kinds]
    total = torch.stack([norm.to(norms[0].device) for norm in norms]).norm() if norms else torch.tensor(0.0)
    for kind in kinds:
        clip_grads_with_norm_(kind, max_norm, total)
    return float(total)

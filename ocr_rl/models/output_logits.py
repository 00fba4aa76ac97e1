"""What a model does between its head and its logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Logits = Callable[[Tensor], Tensor]


def identity(logits: Tensor) -> Tensor:
    return logits


def after_head(text_config: Any, head: Tensor, logits: Tensor, tolerance: float) -> Logits | None:
    """The function from the head's output to the model's logits, found by comparing both for some tokens.

    None if the logits are not its output, nor that capped or scaled as the config says, within `tolerance` of the
    largest.
    """
    cap, divisor, factor = (
        getattr(text_config, name, None) for name in ("final_logit_softcapping", "logits_scaling", "logit_scale")
    )
    known: list[Logits] = [identity]
    if cap:
        known.append(lambda logits: cap * torch.tanh(logits / cap))
    if divisor:
        known.append(lambda logits: logits / divisor)
    if factor:
        known.append(lambda logits: logits * factor)
    errors = [(function(head) - logits).abs().max().item() for function in known]
    best = min(range(len(known)), key=errors.__getitem__)
    return known[best] if errors[best] <= tolerance * max(1.0, logits.abs().max().item()) else None

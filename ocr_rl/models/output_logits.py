"""What a model does between its head and its logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ocr_rl.models.policy import Policy

Logits = Callable[[Tensor], Tensor]


def identity(logits: Tensor) -> Tensor:
    return logits


def after_head(policy: Policy) -> Logits:
    """The function from the head's output to the model's logits, found by asking the model once.

    Raises:
        ValueError: the model's logits are none of the known functions.
    """
    text = policy.base.config.get_text_config()
    cap, divisor, factor = (
        getattr(text, name, None) for name in ("final_logit_softcapping", "logits_scaling", "logit_scale")
    )
    known: list[Logits] = [identity]
    if cap:
        known.append(lambda logits: cap * torch.tanh(logits / cap))
    if divisor:
        known.append(lambda logits: logits / divisor)
    if factor:
        known.append(lambda logits: logits * factor)
    ids = torch.tensor([policy.end_ids[:1]], device=policy.device)
    with torch.no_grad(), policy.autocast():
        expected = policy.base(input_ids=ids, use_cache=False).logits.float()
        head = policy.head(policy.backbone(input_ids=ids, use_cache=False).last_hidden_state).float()
    errors = [(function(head) - expected).abs().max().item() for function in known]
    best = min(range(len(known)), key=errors.__getitem__)
    tolerance = 1e-4 if policy.compute_dtype == torch.float32 else 2e-2
    if errors[best] > tolerance * max(1.0, expected.abs().max().item()):
        raise ValueError(
            f"{policy.source}: the logits of {type(policy.base).__name__} are not its output layer's, nor these capped "
            "or scaled as its config says; this model cannot be trained here"
        )
    return known[best]

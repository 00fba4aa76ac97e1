"""Muon with a choice of the precision: torch's own casts to bfloat16, which processors without such units emulate at
a hundredth of the speed. Matrices of one shape are orthogonalised together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import torch


class Muon(torch.optim.Optimizer):
    """Momentum whose update is the nearest orthogonal matrix (Keller Jordan, 2024), scaled by
    sqrt(max(1, rows / columns)), with decoupled weight decay."""

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`dtype` is that of the orthogonalisation."""
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    buffer.lerp_(p.grad, 1 - group["momentum"])
                    shapes[p.shape].append((p, p.grad.lerp(buffer, group["momentum"])))  # Nesterov
            for (rows, columns), matrices in shapes.items():
                updates = orthogonalised(torch.stack([update for _, update in matrices]).to(self.dtype)).float()
                scale = group["lr"] * math.sqrt(max(1, rows / columns))
                for (p, _), update in zip(matrices, updates, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-scale)


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """(N, rows, columns) -> the same with all singular values near 1, by five Newton-Schulz steps."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x

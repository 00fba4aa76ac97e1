"""The scalar head of a critic (PPO) and of a reward model: one number from a hidden state of the policy."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ocr_rl.models.checkpoints.safetensors_io import disk_errors


class ScalarHead(nn.Module):
    """(..., D) -> (...) in float32: w h + b, or w tanh(W h + b') + b with a hidden layer. Zero before training."""

    def __init__(self, size: int, width: int = 0, seed: int = 0) -> None:
        """`size` is D, `width` the hidden layer's size, 0 for none. The same seed draws the same W."""
        super().__init__()
        self.inner = nn.Linear(size, width) if width else None
        self.output = nn.Linear(width or size, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        if self.inner is not None:
            generator = torch.Generator().manual_seed(seed)
            nn.init.normal_(self.inner.weight, std=size**-0.5, generator=generator)
            nn.init.zeros_(self.inner.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden.float()
        if self.inner is not None:
            hidden = self.inner(hidden).tanh()
        value: Tensor = self.output(hidden).squeeze(-1)
        return value

    def save(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with disk_errors(file):
            save_file({name: value.contiguous() for name, value in self.state_dict().items()}, file)

    @classmethod
    def load(cls, file: Path) -> ScalarHead:
        """The head that `save` wrote, bit for bit. Raises OSError if the file does not exist."""
        tensors = load_file(file)
        weight = tensors.get("inner.weight", tensors["output.weight"])
        head = cls(weight.shape[1], weight.shape[0] if "inner.weight" in tensors else 0)
        head.load_state_dict(tensors)
        return head

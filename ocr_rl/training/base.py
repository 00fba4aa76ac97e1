"""What the loop asks of an algorithm: the Trainer protocol, a step and its result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn


@dataclass(frozen=True)
class TrainerState:
    """What an algorithm has beside policy and optimiser that a resumed run needs."""

    modules: Mapping[str, nn.Module] = field(default_factory=dict)
    """By name; those of their weights that train are saved."""
    numbers: dict[str, float] = field(default_factory=dict)
    frozen: Mapping[str, nn.Module] = field(default_factory=dict)
    """By name; saved whole, though nothing of them trains."""

    def saved(self) -> dict[str, torch.Tensor]:
        """Weights by name, to be read from and copied into."""
        frozen = {f"{m}.{name}": t for m, owner in self.frozen.items() for name, t in owner.state_dict().items()}
        return {**self.trained(), **frozen}

    def trained(self) -> dict[str, nn.Parameter]:
        return {
            f"{module}.{name}": parameter
            for module, owner in self.modules.items()
            for name, parameter in owner.named_parameters()
            if parameter.requires_grad
        }


NO_STATE = TrainerState()


class StepResult(NamedTuple):
    """What a step has to tell."""

    metrics: Mapping[str, float | None]
    rollouts: Sequence[Mapping[str, Any]] = ()
    """Rows for rollouts/step_NNNNNN.jsonl; none: no file."""


class Trainer(ABC):
    """What an algorithm adds to the loop. Made from the policy that the run begins with."""

    optimizer: torch.optim.Optimizer
    state: TrainerState = NO_STATE
    """What trains beside the policy, saved and loaded with it."""

    @abstractmethod
    def start(self, done: int) -> None:
        """Go on after step `done`; weights and optimiser are as they were then."""

    @abstractmethod
    def step(self, step: int, rate: float) -> StepResult:
        """Train on one batch, at this learning rate.

        Raises:
            TrainingStoppedError: the update cannot be made; the weights are those of before.
            FloatingPointError: the policy's weights are broken.
        """

    def measure(self) -> Mapping[str, float | None]:
        """What it has to tell of held-out pages, beside how well they are transcribed."""
        return {}

    def save(self, folder: Path) -> None:  # noqa: B027
        """Add to a checkpoint what those need who use it."""

    def sync_engine(self) -> None:  # noqa: B027 - not every algorithm generates
        """Give the engine the policy's current weights."""

    def close(self) -> None:  # noqa: B027
        """Give back what was taken for training."""

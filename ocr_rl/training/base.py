"""What the training loop needs from an algorithm: a trainer, the result of a step, the state to save."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ocr_rl.rewards.reward_function import ScoredGroup


@dataclass(frozen=True)
class TrainerState:
    """What a resumed run needs besides the policy and the optimiser."""

    modules: Mapping[str, nn.Module] = field(default_factory=dict)
    """By name; their trainable weights are saved."""
    numbers: dict[str, float] = field(default_factory=dict)
    frozen: Mapping[str, nn.Module] = field(default_factory=dict)
    """By name; all their weights are saved, though none of them train."""

    def saved(self) -> dict[str, torch.Tensor]:
        """The weights to save, by name; loading copies into the same tensors."""
        frozen = {f"{m}.{name}": t for m, owner in self.frozen.items() for name, t in owner.state_dict().items()}
        return {**self.trained(), **frozen}

    def trained(self) -> dict[str, nn.Parameter]:
        """The trainable weights of `modules`, by name."""
        return {
            f"{module}.{name}": parameter
            for module, owner in self.modules.items()
            for name, parameter in owner.named_parameters()
            if parameter.requires_grad
        }


NO_STATE = TrainerState()


class StepResult(NamedTuple):
    """What is logged about a step."""

    metrics: Mapping[str, float | None]
    rollouts: Sequence[Mapping[str, Any]] = ()
    """Rows of rollouts/step_NNNNNN.jsonl; without rows there is no file."""


class Trainer(ABC):
    """An algorithm: how a step samples or reads its batch and updates the policy.

    It is constructed from the policy as it was when the run began, before a checkpoint is loaded.
    """

    optimizer: torch.optim.Optimizer
    state: TrainerState = NO_STATE
    """What trains besides the policy; saved and loaded with it."""

    @abstractmethod
    def start(self, done: int) -> None:
        """Continue after step `done`; weights and optimiser are as they were then."""

    @abstractmethod
    def step(self, step: int, rate: float) -> StepResult:
        """Train on one batch with learning rate `rate`.

        Raises:
            TrainingStoppedError: the update cannot be made; the weights are unchanged.
            FloatingPointError: the policy's weights are broken.
        """

    @abstractmethod
    def dry_run(self, scored: Sequence[ScoredGroup]) -> None:
        """Compute the gradient of an update on these groups, without making the update."""

    def measure(self) -> Mapping[str, float | None]:
        """Metrics of the held-out pages, besides those of their transcriptions."""
        return {}

    def save(self, folder: Path) -> None:  # noqa: B027
        """Add to a checkpoint what its users need besides the policy."""

    def sync_engine(self) -> None:  # noqa: B027 - not every algorithm generates
        """Give the engine the policy's current weights."""

    def close(self) -> None:  # noqa: B027
        """Release what was acquired for training."""

"""The policy as a run began, which KL terms and preference losses hold the policy to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ocr_rl.models.policy import Policy


class Reference:
    """The policy as it is now, whatever it learns later: a copy of the weights that are trained, and of no other.

    With LoRA that is a copy of the adapter, so a run that goes on with an adapter is held to that, not to its base.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.weights = nn.ParameterList(
            nn.Parameter(parameter.detach().clone(), requires_grad=False) for parameter in policy.trainable_parameters()
        )

    @contextmanager
    def policy(self) -> Iterator[Policy]:
        """The policy with these weights, without gradient. Not while a gradient of the policy is under way."""
        self._swap()
        try:
            with torch.no_grad():
                yield self._policy
        finally:
            self._swap()

    def renew(self) -> None:
        """Let the policy as it is now be the reference."""
        for parameter, other in zip(self._policy.trainable_parameters(), self.weights, strict=True):
            other.data.copy_(parameter.data)

    def _swap(self) -> None:
        for parameter, other in zip(self._policy.trainable_parameters(), self.weights, strict=True):
            parameter.data, other.data = other.data, parameter.data

"""The reference policy of KL terms and preference losses: the policy at the start of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ocr_rl import distributed
from ocr_rl.models.divided_tensors import own_part
from ocr_rl.models.policy import Policy
from ocr_rl.models.sharding import Operation


class Reference:
    """The policy at the time of construction: a copy of the weights that are trained, and of no others.

    With LoRA that is a copy of the adapter, so the reference of a run that starts from an adapter is that adapter, not
    its base model.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.weights = nn.ParameterList(
            nn.Parameter(parameter.detach().clone(), requires_grad=False) for parameter in policy.trainable_parameters()
        )
        if policy.shards is not None:
            self._number = distributed.add_partner(self)

    @contextmanager
    def policy(self) -> Iterator[Policy]:
        """The policy with the reference's weights, without gradient. Not between a forward and a backward pass."""
        self._swap()
        try:
            with torch.no_grad():
                yield self._policy
        finally:
            self._swap()

    def renew(self) -> None:
        """Make the current policy the reference."""
        for parameter, other in zip(self._policy.trainable_parameters(), self.weights, strict=True):
            own_part(other.data).copy_(own_part(parameter.data))

    def join(self, operation: int) -> None:
        """Divided weights are exchanged in all processes together."""
        assert self._policy.shards is not None
        self._policy.shards.drop()
        for parameter, other in zip(self._policy.trainable_parameters(), self.weights, strict=True):
            own, theirs = own_part(parameter.data), own_part(other.data)
            kept = own.clone()
            own.copy_(theirs)
            theirs.copy_(kept)

    def rest(self) -> None:
        pass

    def _swap(self) -> None:
        if self._policy.shards is not None:
            distributed.take_turn(Operation.SWAP, self._number)
            self.join(Operation.SWAP)
            distributed.end_turn()
            return
        for parameter, other in zip(self._policy.trainable_parameters(), self.weights, strict=True):
            parameter.data, other.data = other.data, parameter.data

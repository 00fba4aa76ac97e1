"""Optimal completion distillation: after each token of a completion, learn a token that a best continuation has.

Sabour, Chan, Norouzi, "Optimal Completion Distillation for Sequence Learning" (arXiv 1810.01398), with its temperature
at 0: all optimal tokens are equally good, and no other one is. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

Choice = Literal["nearest", "likeliest", "uniform", "furthest"]


def optimal_tokens(positions: Sequence[int], token_at: Mapping[int, int | None], choice: Choice) -> list[int]:
    """The tokens to learn after a prefix, each once.

    Args:
        positions: the k, rising, at which min_k D(prefix, x[:k]) is reached, x the reference.
        token_at: by position, the token with which x continues there, or the end token; None where it has none.
        choice: nearest, furthest: one token, that of the first or last position which has one; otherwise all.
    """
    found = list(dict.fromkeys(token for k in positions if (token := token_at[k]) is not None))
    if choice == "nearest":
        return found[:1]
    if choice == "furthest":
        last = next((token for k in reversed(positions) if (token := token_at[k]) is not None), None)
        return [] if last is None else [last]
    return found


def optimal_completion_losses(
    logprobs: Tensor, place: Tensor, places: int, choice: Choice, cap: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The loss at each place, (M,), and which of them are capped, (M,) bool.

    uniform:     -1/|S| sum over a in S of log pi(a), S the optimal tokens: the paper's cross-entropy
    likeliest:   -log sum over a in S of pi(a): the policy chooses among them
    nearest, furthest:  -log pi(a), S has one token

    A loss above `cap` is the cap, without gradient (0: no cap): a token that the policy finds absurd is more often due
    to an alignment that it does not share than something to learn at once.

    Args:
        logprobs: log pi(a), (N,), of the optimal tokens of all places one after another.
        place: (N,), from 0 to M - 1: where each of them may come next.
        places: M.
    """
    if choice == "likeliest":
        top = torch.full((places,), -torch.inf, dtype=logprobs.dtype, device=logprobs.device)
        top = top.scatter_reduce(0, place, logprobs.detach(), "amax")
        total = torch.zeros_like(top).index_add(0, place, (logprobs - top[place]).exp())
        losses = -(top + total.log())
    else:
        sums = torch.zeros(places, dtype=logprobs.dtype, device=logprobs.device).index_add(0, place, logprobs)
        losses = -sums / torch.bincount(place, minlength=places)
    capped = losses.detach() > cap if cap else torch.zeros_like(losses, dtype=torch.bool)
    return torch.where(capped, cap, losses), capped

"""The mathematics of model soups: averages of weights, and which ingredients a greedy soup keeps.

Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
inference time", arXiv 2203.05482.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def add_share(total: Weights, weights: Weights, share: float) -> Weights:
    """total + share * theta, by name and in place; an empty total starts at 0. Integers stay those of the first."""
    if not total:
        return {name: tensor * share if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    with torch.no_grad():
        for name, tensor in weights.items():
            if tensor.is_floating_point():
                total[name].add_(tensor, alpha=share)
    return total


def greedy_choice(values: Sequence[float], value_with: Callable[[list[int]], float], sign: int) -> list[int]:
    """The ingredients of a greedy soup, in the order in which they were added (Recipe 1 of the paper).

    Ingredients are tried from the best to the worst by their own held-out value; each is kept if the value of the
    average of those kept and itself is not worse than that of those kept. Equal ones are tried in their order.

    Args:
        values: of each ingredient alone.
        value_with: the held-out value of the average of several ingredients.
        sign: 1 if higher is better, -1 if lower is.
    """
    order = sorted(range(len(values)), key=lambda i: -sign * values[i])
    kept, best = order[:1], values[order[0]]
    for i in order[1:]:
        value = value_with([*kept, i])
        if sign * value >= sign * best:
            kept, best = [*kept, i], value
    return kept

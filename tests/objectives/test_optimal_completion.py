"""Losses of optimal completion distillation, in worked numbers."""

from math import log

import pytest
import torch

from ocr_rl.objectives.optimal_completion import optimal_completion_losses, optimal_tokens

TOKENS = {2: 7, 3: 8, 4: None, 5: 9, 6: 7}


@pytest.mark.parametrize(
    ("choice", "learned"),
    [("nearest", [7]), ("furthest", [9]), ("likeliest", [7, 8, 9]), ("uniform", [7, 8, 9])],
)
def test_which_of_the_optimal_tokens_are_learned(choice, learned):
    assert optimal_tokens([2, 3, 4, 5], TOKENS, choice) == learned


def test_a_position_without_a_token_is_passed_over_and_a_token_counts_once():
    assert optimal_tokens([4, 5], TOKENS, "nearest") == [9]
    assert optimal_tokens([2, 4], TOKENS, "furthest") == [7]
    assert optimal_tokens([4], TOKENS, "nearest") == []
    assert optimal_tokens([2, 6], TOKENS, "uniform") == [7]


def losses(choice, cap=0.0):
    """Two places: one with tokens of probability 1/2 and 1/4, one with a token of 1/8."""
    logprobs = torch.tensor([1 / 2, 1 / 4, 1 / 8], dtype=torch.float64).log().requires_grad_()
    found, capped = optimal_completion_losses(logprobs, torch.tensor([0, 0, 1]), 2, choice, cap)
    found.sum().backward()
    return found.tolist(), logprobs.grad.tolist(), capped.tolist()


def test_uniform_is_the_cross_entropy_with_all_optimal_tokens_alike():
    """-(log 1/2 + log 1/4) / 2 = 1.5 log 2."""
    found, gradient, _ = losses("uniform")
    assert found == pytest.approx([1.5 * log(2), 3 * log(2)])
    assert gradient == pytest.approx([-1 / 2, -1 / 2, -1])


def test_likeliest_is_their_total_probability_so_each_moves_with_its_share():
    """-log(1/2 + 1/4); of the gradient 2/3 go to the first."""
    found, gradient, _ = losses("likeliest")
    assert found == pytest.approx([log(4 / 3), 3 * log(2)])
    assert gradient == pytest.approx([-2 / 3, -1 / 3, -1])


def test_above_the_cap_nothing_is_learned():
    found, gradient, capped = losses("uniform", cap=1.5)
    assert found == pytest.approx([1.5 * log(2), 1.5])
    assert gradient == pytest.approx([-1 / 2, -1 / 2, 0])
    assert capped == [False, True]


def test_a_probability_that_vanishes_has_a_finite_gradient():
    logprobs = torch.tensor([-200.0, -210.0], requires_grad=True)
    found, _ = optimal_completion_losses(logprobs, torch.tensor([0, 0]), 1, "likeliest")
    found.sum().backward()
    assert found.item() == pytest.approx(200, rel=1e-4)
    assert logprobs.grad.sum().item() == pytest.approx(-1)

"""A = (r - mean) / (std + 1e-4) within a group: worked numbers, then properties."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ocr_rl.advantages import group_advantages

EPS = 1e-4
rewards_of_groups = arrays(
    "float64", array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6), elements=st.integers(0, 100)
).map(lambda hundredths: torch.from_numpy(hundredths / 100))


def test_the_best_of_four_stands_out():
    """r = [1, 0, 0, 0]: mean 1/4, sample std sqrt((9/16 + 3/16) / 3) = 1/2, so A = [3/4, -1/4 x 3] / 0.5001."""
    advantages, spread = group_advantages(torch.tensor([[1.0, 0, 0, 0]]))
    expected = torch.tensor([[0.75, -0.25, -0.25, -0.25]]) / (0.5 + EPS)
    torch.testing.assert_close(advantages, expected)
    assert spread.tolist() == [True]


def test_two_completions_get_plus_and_minus_one_over_the_root_of_two_whatever_the_gap():
    """r = [a, b]: sample std |a - b| / sqrt 2, so A = +-1 / sqrt 2, but for eps."""
    advantages, _ = group_advantages(torch.tensor([[1.0, 0.0], [0.5, 0.6]]))
    half = 1 / math.sqrt(2)
    torch.testing.assert_close(advantages, torch.tensor([[half, -half], [-half, half]]), atol=2e-3, rtol=0)


def test_each_page_is_a_group_of_its_own():
    """Row 1: mean 2, sample std 1. Row 2: mean 20, sample std 10."""
    advantages, _ = group_advantages(torch.tensor([[1.0, 2, 3], [10, 20, 30]]))
    torch.testing.assert_close(advantages[0], torch.tensor([-1.0, 0, 1]) / (1 + EPS))
    torch.testing.assert_close(advantages[1], torch.tensor([-10.0, 0, 10]) / (10 + EPS))


def test_dr_grpo_only_centres():
    """r = [1, 0, 0, 0]: A = r - 1/4."""
    advantages, _ = group_advantages(torch.tensor([[1.0, 0, 0, 0]]), divide_by_std=False)
    assert advantages.tolist() == [[0.75, -0.25, -0.25, -0.25]]


@pytest.mark.parametrize("divide_by_std", [True, False])
def test_a_group_without_spread_has_advantage_zero_and_says_so(divide_by_std):
    rewards = torch.tensor([[0.7, 0.7, 0.7], [0.0, 0.5, 1.0]])
    advantages, spread = group_advantages(rewards, divide_by_std=divide_by_std)
    assert advantages[0].tolist() == [0, 0, 0]
    assert spread.tolist() == [False, True]


def test_a_spread_under_the_floor_is_noise():
    """r = [0.5, 0.51]: std 0.01 / sqrt 2 = 0.0071, under 0.01 and over 0.005."""
    rewards = torch.tensor([[0.5, 0.51]])
    assert group_advantages(rewards).advantages.tolist() == [[0, 0]]
    assert group_advantages(rewards, min_group_std=0.005).spread.tolist() == [True]


def test_a_group_of_one_is_an_error():
    with pytest.raises(ValueError, match=r"^group_size is 1; a group needs at least 2 completions to compare$"):
        group_advantages(torch.tensor([[1.0], [0.0]]))


@given(rewards_of_groups, st.booleans())
def test_advantages_of_a_group_sum_to_zero(rewards, divide_by_std):
    advantages, _ = group_advantages(rewards, divide_by_std=divide_by_std)
    torch.testing.assert_close(advantages.sum(1), torch.zeros(len(rewards), dtype=torch.float64), atol=1e-9, rtol=0)


@given(rewards_of_groups, st.floats(-5, 5), st.booleans())
def test_a_constant_added_to_all_rewards_changes_nothing(rewards, shift, divide_by_std):
    assume(((rewards.std(1) - 0.01).abs() > 1e-6).all())  # not on the edge of min_group_std
    before, after = (group_advantages(r, divide_by_std=divide_by_std) for r in (rewards, rewards + shift))
    torch.testing.assert_close(after.advantages, before.advantages, atol=1e-9, rtol=0)
    assert torch.equal(after.spread, before.spread)


@given(rewards_of_groups, st.floats(1, 100))
def test_the_scale_of_the_rewards_divides_out_up_to_eps(rewards, scale):
    """std / (std + eps) >= 0.01 / 0.0101, so at most one per cent is left of any scale."""
    assume(((rewards.std(1) - 0.01).abs() > 1e-6).all())
    before, after = (
        group_advantages(r, min_group_std=0.01 * s).advantages for r, s in ((rewards, 1), (rewards * scale, scale))
    )
    torch.testing.assert_close(after, before, atol=1e-12, rtol=0.0101)


@given(rewards_of_groups, st.floats(1, 100))
def test_without_the_division_advantages_scale_with_the_rewards(rewards, scale):
    before, after = (
        group_advantages(r, divide_by_std=False, min_group_std=0.0).advantages for r in (rewards, rewards * scale)
    )
    torch.testing.assert_close(after, before * scale)


@given(rewards_of_groups, st.randoms())
def test_the_order_of_completions_and_of_pages_does_not_matter(rewards, random):
    rows, columns = list(range(rewards.shape[0])), list(range(rewards.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    shuffled = group_advantages(rewards[rows][:, columns])
    plain = group_advantages(rewards)
    torch.testing.assert_close(shuffled.advantages, plain.advantages[rows][:, columns], atol=1e-9, rtol=0)


@given(rewards_of_groups)
def test_the_order_of_rewards_is_the_order_of_advantages(rewards):
    advantages, spread = group_advantages(rewards)
    for row, group in zip(advantages[spread], rewards[spread], strict=True):
        assert torch.equal(row[group.argsort()], row.sort().values)

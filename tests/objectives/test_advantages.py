"""Advantages of completions among their siblings: worked numbers, TRL's and verl's numbers, properties."""

import math
from itertools import product

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from helpers import trl_oracle
from ocr_rl.objectives.advantages import (
    batch_advantages,
    decoupled_advantages,
    group_advantages,
    leave_one_out_advantages,
    reward_to_go_advantages,
)
from ocr_rl.objectives.policy_losses import kl_estimate
from ocr_rl.objectives.returns import kl_penalised_rewards

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


def test_a_spread_below_the_minimum_is_noise():
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


# Leave one out, RLOO.


def test_leave_one_out_compares_with_the_mean_of_the_others():
    """r = [1, 0, 0.5]: 1 - 0.25, 0 - 0.75, 0.5 - 0.5."""
    advantages, spread = leave_one_out_advantages(torch.tensor([[1.0, 0.0, 0.5]]))
    torch.testing.assert_close(advantages, torch.tensor([[0.75, -0.75, 0.0]]))
    assert spread.tolist() == [True]


def test_leave_one_out_is_unbiased_and_the_group_mean_shrinks_the_gradient():
    """By enumeration of all pairs that a policy over three completions draws: E[1/G sum A grad log pi] = grad E[R].

    With the group's mean as the baseline it is (G - 1) / G = 1/2 of it.
    """
    rewards = torch.tensor([0.3, 1.0, 0.0], dtype=torch.float64)
    theta = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64, requires_grad=True)
    (true,) = torch.autograd.grad((theta.softmax(0) * rewards).sum(), theta)

    def expected_gradient(advantages_of):
        total = torch.zeros(3, dtype=torch.float64)
        for i, j in product(range(3), repeat=2):
            logprobs = theta.log_softmax(0)
            advantages = advantages_of(rewards[[i, j]][None])[0]
            (gradient,) = torch.autograd.grad((advantages * logprobs[[i, j]]).mean(), theta)
            total += (logprobs[i] + logprobs[j]).exp().detach() * gradient
        return total

    torch.testing.assert_close(expected_gradient(lambda r: leave_one_out_advantages(r).advantages), true)
    centred = expected_gradient(lambda r: group_advantages(r, divide_by_std=False, min_group_std=0).advantages)
    torch.testing.assert_close(centred, true / 2)


@given(rewards_of_groups)
def test_leave_one_out_is_the_centred_reward_but_for_a_factor(rewards):
    """G / (G - 1) (r - mean(r))."""
    size = rewards.shape[1]
    centred = group_advantages(rewards, divide_by_std=False, min_group_std=0).advantages
    torch.testing.assert_close(leave_one_out_advantages(rewards).advantages, centred * size / (size - 1))


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_leave_one_out_advantages_are_those_of_trl(parity, beta):
    """With the KL term in the reward: r - beta sum_t k1_t."""
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        rewards = torch.rand(3, 4, generator=generator, dtype=torch.float64)
        logprobs, ref = -torch.rand(2, 12, 5, generator=generator, dtype=torch.float64)
        lengths = torch.randint(1, 6, (12,), generator=generator)
        lengths[0] = 5
        theirs = trl_oracle.rollout(
            trl_oracle.RLOOTrainer, rewards, lengths=lengths.tolist(), logprobs=logprobs, ref=ref, beta=beta
        )
        kl = kl_estimate(logprobs, ref, "k1")
        penalised = kl_penalised_rewards(rewards.flatten(), kl, torch.arange(5) < lengths[:, None], beta)
        ours = leave_one_out_advantages(penalised.view(3, 4)).advantages
        name = "RLOO, advantages with k1 in the reward" if beta else "RLOO, advantages"
        parity(name, "TRL 1.16", ours.flatten(), theirs["advantages"], atol=1e-12)


# One scale for the batch, REINFORCE++.


def test_the_batch_scale_keeps_an_easy_page_small():
    """Groups [0, 1] and [0.4, 0.6] centred: +-0.5, +-0.1, of sample std sqrt(0.52 / 3)."""
    rewards = torch.tensor([[0.0, 1.0], [0.4, 0.6]])
    expected = torch.tensor([[-0.5, 0.5], [-0.1, 0.1]]) / (math.sqrt(0.52 / 3) + EPS)
    torch.testing.assert_close(batch_advantages(rewards).advantages, expected)


def test_the_batch_scale_does_not_depend_on_how_pages_differ():
    """Groups [0, 0.2] and [1, 0.8]: centred +-0.1, std sqrt(0.04 / 3), though r has std sqrt(0.68 / 3)."""
    rewards = torch.tensor([[0.0, 0.2], [1.0, 0.8]])
    signs = torch.tensor([[-0.1, 0.1], [0.1, -0.1]])
    torch.testing.assert_close(batch_advantages(rewards).advantages, signs / (math.sqrt(0.04 / 3) + EPS))


def test_the_batch_scale_is_that_of_verl_where_every_completion_has_one_token(parity):
    """verl 0.5.0's REINFORCE++ with a baseline, on groups [0, 1] and [0.4, 0.6]; it weighs completions by tokens."""
    ours = batch_advantages(torch.tensor([[0.0, 1.0], [0.4, 0.6]], dtype=torch.float64), eps=0.0).advantages
    theirs = [-1.200961100999331, 1.200961100999331, -0.24019222019986616, 0.24019222019986616]
    theirs = torch.tensor(theirs, dtype=torch.float64)
    parity("REINFORCE++ with a baseline, advantages", "verl 0.5.0, numbers", ours.flatten(), theirs, atol=1e-6)


def thirds(seed, *functions):
    """Random rewards of 3 x 3 completions: TRL's N / (N - 1) is float32, exact for 3 and for 9."""
    return torch.rand(3, 3, *functions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("divide_by_std", [True, False])
def test_group_advantages_are_those_of_trl(parity, divide_by_std):
    scale = "group" if divide_by_std else "none"
    for seed in range(10):
        rewards = thirds(seed)
        theirs = trl_oracle.rollout(trl_oracle.GRPOTrainer, rewards, scale_rewards=scale)["advantages"]
        ours = group_advantages(rewards, divide_by_std=divide_by_std).advantages
        name = "GRPO" if divide_by_std else "Dr. GRPO"
        parity(f"{name}, advantages", "TRL 1.16", ours.flatten(), theirs, atol=1e-12)


# Several rewards, GDPO.


def test_rewards_normalised_separately_distinguish_what_their_sum_confuses():
    """Two completions, rewards (0, 1) and (0, 2) against (0, 0): the sums 1 and 2 give both groups +-0.707 in GRPO.

    Apart: r_1 has no spread; r_2 gives +-0.707 in both groups too; but (1, 1) against (0, 0) gives 0.707 twice. Before
    the scale of the batch: S = +-0.707, +-1.414, so A = +-1, +-2 over sqrt((2 * 0.5 + 2 * 2) / 3) / 0.7071.
    """
    rewards = torch.tensor([[[0.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]]], dtype=torch.float64)
    advantages, spread = decoupled_advantages(rewards, torch.ones(2))
    std = math.sqrt((2 * 0.5 + 2 * 2) / 3)
    expected = torch.tensor([[-1, 1], [-2, 2]], dtype=torch.float64) * math.sqrt(0.5) / std
    torch.testing.assert_close(advantages, expected, atol=0, rtol=1e-3)
    assert spread.tolist() == [True, True]
    summed = group_advantages(rewards.sum(-1)).advantages
    torch.testing.assert_close(summed[0], summed[1], atol=1e-3, rtol=0)


def test_the_weight_of_a_reward_counts_and_not_its_scale():
    """r_1 = (0, 1, 2), r_2 = (1, 0, 2): S = w_1 (-1, 0, 1) + w_2 (0, -1, 1), whatever the scale of r_2.

    Weights 1 and 1: (-1, -1, 2), of std sqrt 3. Weights 1 and 3: (-1, -3, 4), of std sqrt 13.
    """
    for scale in (1.0, 100.0):
        rewards = torch.tensor([[[0.0, scale], [1.0, 0.0], [2.0, 2 * scale]]], dtype=torch.float64)
        equal, _ = decoupled_advantages(rewards, torch.tensor([1.0, 1.0]))
        expected = torch.tensor([[-1, -1, 2]], dtype=torch.float64) / math.sqrt(3)
        torch.testing.assert_close(equal, expected, atol=1e-3, rtol=0)
        heavy, _ = decoupled_advantages(rewards, torch.tensor([1.0, 3.0]))
        expected = torch.tensor([[-1, -3, 4]], dtype=torch.float64) / math.sqrt(13)
        torch.testing.assert_close(heavy, expected, atol=1e-3, rtol=0)


def test_a_page_whose_rewards_are_all_equal_has_advantage_zero():
    rewards = torch.tensor([[[0.2, 1.0], [0.2, 1.0]], [[0.0, 0.5], [1.0, 0.5]]])
    advantages, spread = decoupled_advantages(rewards, torch.ones(2))
    assert advantages[0].tolist() == [0, 0]
    assert spread.tolist() == [False, True]


def test_decoupled_advantages_are_those_of_trl(parity):
    """multi_objective_aggregation="normalize_then_sum"."""
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        rewards, weights = thirds(seed, 2), torch.rand(2, generator=generator, dtype=torch.float64)
        theirs = trl_oracle.rollout(
            trl_oracle.GRPOTrainer,
            rewards,
            multi_objective_aggregation="normalize_then_sum",
            reward_weights=weights,
        )
        ours = decoupled_advantages(rewards, weights).advantages
        parity("GDPO, advantages", "TRL 1.16", ours.flatten(), theirs["advantages"], atol=1e-12)


@given(rewards_of_groups, st.randoms())
def test_one_reward_is_normalised_like_a_group_and_then_like_a_batch(rewards, random):
    assume(((rewards.std(1) - 0.01).abs() > 1e-6).all())
    decoupled = decoupled_advantages(rewards[..., None], torch.ones(1))
    group = group_advantages(rewards)
    assert torch.equal(decoupled.spread, group.spread)
    std = group.advantages.std()
    torch.testing.assert_close(decoupled.advantages, group.advantages / (std + EPS), atol=1e-9, rtol=1e-9)


ESTIMATORS = {
    "leave one out": leave_one_out_advantages,
    "batch": batch_advantages,
    "decoupled": lambda r: decoupled_advantages(torch.stack([r, r.square()], -1), torch.tensor([1.0, 0.5])),
}


@pytest.mark.parametrize("estimate", ESTIMATORS.values(), ids=ESTIMATORS)
@given(rewards=rewards_of_groups, random=st.randoms())
def test_every_estimator_is_centred_and_blind_to_the_order(estimate, rewards, random):
    advantages, spread = estimate(rewards)
    torch.testing.assert_close(advantages.sum(1), torch.zeros(len(rewards), dtype=torch.float64), atol=1e-9, rtol=0)
    assert not advantages[~spread].any()
    rows, columns = list(range(rewards.shape[0])), list(range(rewards.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    shuffled = estimate(rewards[rows][:, columns])
    torch.testing.assert_close(shuffled.advantages, advantages[rows][:, columns], atol=1e-9, rtol=0)
    assert torch.equal(shuffled.spread, spread[rows])


@pytest.mark.parametrize("estimate", ESTIMATORS.values(), ids=ESTIMATORS)
def test_no_estimator_takes_a_group_of_one_and_all_take_one_without_spread(estimate):
    with pytest.raises(ValueError, match=r"^group_size is 1; a group needs at least 2 completions to compare$"):
        estimate(torch.tensor([[1.0], [0.0]]))
    advantages, spread = estimate(torch.full((2, 3), 0.7))
    assert not advantages.any()
    assert not spread.any()


# Reward to go.


def test_a_token_has_no_credit_for_the_rewards_before_it():
    """Token rewards -0.1, -0.2, 0.7 add up to 0.4; with a baseline of 0.25, A = 0.15, then + 0.1, then + 0.2.

    A completion of one token has A; what is at the pads does not matter.
    """
    rewards = torch.tensor([[-0.1, -0.2, 0.7], [0.6, math.nan, math.inf]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    advantages = reward_to_go_advantages(torch.tensor([0.15, 0.35]), rewards, mask)
    torch.testing.assert_close(advantages, torch.tensor([[0.15, 0.25, 0.45], [0.35, 0.0, 0.0]]))


@given(st.integers(0, 1000), st.floats(-1, 1))
def test_the_expected_gradient_is_that_of_the_total_reward(seed, baseline):
    """By enumeration of two tokens out of a vocabulary of three: E[sum_t A_t grad log pi_t] = grad E[R]."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    first, second = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
    rows = list(product(range(3), repeat=2))
    start, after = theta[0].log_softmax(0), theta[1:].log_softmax(1)
    logprobs = torch.stack([torch.stack([start[i], after[i, j]]) for i, j in rows])
    rewards = torch.stack([torch.stack([first[0, i], second[i, j]]) for i, j in rows])
    drawn = logprobs.sum(1).exp()
    (true,) = torch.autograd.grad((drawn * rewards.sum(1)).sum(), theta, retain_graph=True)
    total = rewards.sum(1) - baseline
    by_token = reward_to_go_advantages(total, rewards, torch.ones_like(rewards, dtype=torch.bool))
    for advantages in (total[:, None], by_token):
        surrogate = (drawn.detach() * (advantages * logprobs).sum(1)).sum()
        (gradient,) = torch.autograd.grad(surrogate, theta, retain_graph=True)
        torch.testing.assert_close(gradient, true, atol=1e-9, rtol=1e-7)

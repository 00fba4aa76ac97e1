"""Advantages of groups and of tokens: worked numbers, TRL's and verl's numbers, then properties."""

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
)
from ocr_rl.objectives.policy_losses import StepCounts, grpo_loss, kl_estimate
from ocr_rl.objectives.returns import (
    generalized_advantages,
    kl_penalised_rewards,
    missing_end_penalty,
    n_step_returns,
    rewards_to_go,
    token_rewards,
    whiten,
)

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


# One scale for the batch, REINFORCE++ and Lite PPO.


def test_the_batch_scale_keeps_an_easy_page_small():
    """Groups [0, 1] and [0.4, 0.6] centred: +-0.5, +-0.1, of sample std sqrt(0.52 / 3), which is also that of r."""
    rewards = torch.tensor([[0.0, 1.0], [0.4, 0.6]])
    expected = torch.tensor([[-0.5, 0.5], [-0.1, 0.1]]) / (math.sqrt(0.52 / 3) + EPS)
    for divide_by in ("advantage_std", "reward_std"):
        torch.testing.assert_close(batch_advantages(rewards, divide_by=divide_by).advantages, expected)


def test_the_two_batch_scales_differ_where_pages_differ():
    """Groups [0, 0.2] and [1, 0.8]: centred +-0.1, std sqrt(0.04 / 3); r has mean 0.5, std sqrt(0.68 / 3)."""
    rewards = torch.tensor([[0.0, 0.2], [1.0, 0.8]])
    signs = torch.tensor([[-0.1, 0.1], [0.1, -0.1]])
    for divide_by, std in {"advantage_std": math.sqrt(0.04 / 3), "reward_std": math.sqrt(0.68 / 3)}.items():
        advantages = batch_advantages(rewards, divide_by=divide_by).advantages
        torch.testing.assert_close(advantages, signs / (std + EPS))


def test_the_batch_scale_is_that_of_verl_where_every_completion_has_one_token(parity):
    """verl 0.5.0's REINFORCE++ with a baseline, on groups [0, 1] and [0.4, 0.6]; it weighs completions by tokens."""
    ours = batch_advantages(torch.tensor([[0.0, 1.0], [0.4, 0.6]], dtype=torch.float64), eps=0.0).advantages
    theirs = [-1.200961100999331, 1.200961100999331, -0.24019222019986616, 0.24019222019986616]
    theirs = torch.tensor(theirs, dtype=torch.float64)
    parity("REINFORCE++ with a baseline, advantages", "verl 0.5.0, numbers", ours.flatten(), theirs, atol=1e-6)


def thirds(seed, *functions):
    """Random rewards of 3 x 3 completions: TRL's N / (N - 1) is float32, exact for 3 and for 9."""
    return torch.rand(3, 3, *functions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_batch_scale_of_rewards_is_that_of_trl(parity):
    for seed in range(10):
        rewards = thirds(seed)
        rewards[1] = 0.7
        theirs = trl_oracle.rollout(trl_oracle.GRPOTrainer, rewards, scale_rewards="batch")["advantages"]
        ours = batch_advantages(rewards, divide_by="reward_std")
        parity("Lite PPO, advantages", "TRL 1.16", ours.advantages.flatten(), theirs, atol=1e-12)
        assert ours.spread.tolist() == [True, False, True]


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


def test_rewards_normalised_apart_tell_apart_what_their_sum_confuses():
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
    "advantage std": batch_advantages,
    "reward std": lambda r: batch_advantages(r, divide_by="reward_std"),
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


# Penalties in the reward.


def test_a_completion_without_an_end_token_pays_the_penalty():
    rewards = missing_end_penalty(torch.tensor([1.0, 0.5, 0.0]), torch.tensor([True, False, False]), 0.3)
    torch.testing.assert_close(rewards, torch.tensor([1.0, 0.2, -0.3]))


def test_the_kl_of_a_completion_is_taken_off_its_reward():
    """Rewards 1 and 2, KL (1, 2) and (3, pad), beta 0.1: 1 - 0.3, 2 - 0.3."""
    kl, mask = torch.tensor([[1.0, 2.0], [3.0, math.nan]]), torch.tensor([[True, True], [True, False]])
    torch.testing.assert_close(kl_penalised_rewards(torch.tensor([1.0, 2.0]), kl, mask, 0.1), torch.tensor([0.7, 1.7]))


def test_each_token_pays_its_own_kl_and_the_last_one_earns_the_reward():
    """The batch above, a completion of one token and one without a token: -0.1, 1 - 0.2 | 2 - 0.3, 0 | 0, 0."""
    kl = torch.tensor([[1.0, 2.0], [3.0, math.nan], [math.inf, math.nan]])
    mask = torch.tensor([[True, True], [True, False], [False, False]])
    rewards = token_rewards(torch.tensor([1.0, 2.0, 5.0]), kl, mask, 0.1)
    torch.testing.assert_close(rewards, torch.tensor([[-0.1, 0.8], [1.7, 0.0], [0.0, 0.0]]))


# Token by token. TWO completions of 3 and 2 tokens; what stands at the pad does not matter.

MASK = torch.tensor([[True, True, True], [True, True, False]])
REWARDS = torch.tensor([[-0.05, 0.1, 0.9], [0.1, -0.55, math.nan]], dtype=torch.float64)
VALUES = torch.tensor([[0.25, 0.5, 0.75], [-0.25, 0.0, math.inf]], dtype=torch.float64)


def test_rewards_to_go_are_the_discounted_sums_of_what_is_left():
    """gamma = 1/2: 0.9, 0.1 + 0.45, -0.05 + 0.275; and -0.55, 0.1 - 0.275."""
    expected = torch.tensor([[0.225, 0.55, 0.9], [-0.175, -0.55, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(rewards_to_go(REWARDS, MASK, 0.5), expected)


def test_n_step_returns_look_n_tokens_ahead():
    """gamma = 1/2, n = 1: -0.05 + 0.5 / 2, 0.1 + 0.75 / 2, 0.9; 0.1 + 0, -0.55.

    n = 2: -0.05 + 0.1 / 2 + 0.75 / 4, 0.1 + 0.9 / 2, 0.9; 0.1 - 0.55 / 2, -0.55.
    """
    one = torch.tensor([[0.2, 0.475, 0.9], [0.1, -0.55, 0.0]], dtype=torch.float64)
    two = torch.tensor([[0.1875, 0.55, 0.9], [-0.175, -0.55, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(n_step_returns(REWARDS, VALUES, MASK, 1, 0.5), one)
    torch.testing.assert_close(n_step_returns(REWARDS, VALUES, MASK, 2, 0.5), two)


def test_generalized_advantages_by_hand():
    """gamma = 1, lam = 1/2. delta = r + V' - V: 0.9 - 0.75 = 0.15; 0.1 + 0.75 - 0.5 = 0.35; -0.05 + 0.5 - 0.25 = 0.2.

    A_3 = 0.15, A_2 = 0.35 + 0.075 = 0.425, A_1 = 0.2 + 0.2125. Second row: -0.55, then 0.1 + 0.25 - 0.275.
    """
    expected = torch.tensor([[0.4125, 0.425, 0.15], [0.075, -0.55, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(generalized_advantages(REWARDS, VALUES, MASK, gamma=1.0, lam=0.5), expected)


def test_reinforce_plus_plus_is_that_of_verl(parity):
    """Its advantages, the rewards to go with gamma 0.9, whitened: numbers of verl 0.5.0."""
    theirs = [
        [0.6025962221274527, 0.7947402006891235, 0.7811129681670191],
        [-0.9836136434454892, -1.194835747538106, 0.0],
    ]
    ours = whiten(rewards_to_go(REWARDS, MASK, 0.9), MASK)
    theirs = torch.tensor(theirs, dtype=torch.float64)
    parity("REINFORCE++, advantages", "verl 0.5.0, numbers", ours, theirs, atol=1e-7)


def test_generalized_advantages_and_whitening_are_those_of_trl_and_verl(parity):
    """Numbers of TRL 0.11.4's PPOTrainer (compute_rewards, compute_advantages): gamma 0.9, lam 0.8, KL coefficient 0.2.

    verl 0.5.0's compute_gae_advantage_return gives the same returns, and the advantages to 1e-8, its epsilon.
    """
    logprobs = torch.tensor([[-0.5, -1.0, -2.0], [-1.5, -0.25, math.nan]], dtype=torch.float64)
    ref = torch.tensor([[-0.75, -0.5, -2.5], [-1.0, -0.5, math.nan]], dtype=torch.float64)
    scores = torch.tensor([1.0, -0.5], dtype=torch.float64)
    rewards = token_rewards(scores, kl_estimate(logprobs, ref, "k1"), MASK, 0.2)
    torch.testing.assert_close(rewards, torch.where(MASK, REWARDS, 0.0))
    advantages = generalized_advantages(rewards, VALUES, MASK, gamma=0.9, lam=0.8)
    returns = torch.tensor([[0.67576, 0.883, 0.9], [-0.296, -0.55, 0.0]], dtype=torch.float64)
    for oracle in ("TRL 0.11.4, numbers", "verl 0.5.0, numbers"):
        parity("GAE, returns", oracle, (advantages + VALUES)[MASK], returns[MASK], atol=1e-7)
    white = [
        [0.8908793344251592, 0.783027869169503, 0.19534331808045044],
        [-0.2990179351961777, -1.5702325864789346, 0],
    ]
    white = torch.tensor(white, dtype=torch.float64)
    for oracle in ("TRL 0.11.4, numbers", "verl 0.5.0, numbers"):
        parity("GAE, whitened advantages", oracle, whiten(advantages, MASK), white, atol=1e-7)


def test_whitening_gives_mean_zero_and_variance_one_over_the_trained_tokens():
    """Values 1, 3, 5 and a pad: mean 3, sample variance 4. Keeping the mean adds 3 again."""
    values, mask = torch.tensor([[1.0, 3.0], [5.0, math.nan]]), torch.tensor([[True, True], [True, False]])
    torch.testing.assert_close(whiten(values, mask), torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    torch.testing.assert_close(whiten(values, mask, keep_mean=True), torch.tensor([[2.0, 3.0], [4.0, 0.0]]))


def test_one_token_alone_is_whitened_to_zero():
    assert whiten(torch.tensor([[5.0, 1.0]]), torch.tensor([[True, False]])).tolist() == [[0, 0]]


# Properties of the tokens.


def episode(seed, rows=4, width=6):
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, rows, width, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, width + 1, (rows,), generator=generator)
    lengths[0], lengths[-1] = width, 0
    return rewards, values, torch.arange(width) < lengths[:, None]


seeds, shares = st.integers(0, 10_000), st.floats(0, 1)


@given(seeds, shares, shares)
def test_generalized_advantages_are_the_sum_of_the_paper(seed, gamma, lam):
    """GAE eq. 16, row by row on the unpadded completion."""
    rewards, values, mask = episode(seed)
    advantages = generalized_advantages(rewards, values, mask, gamma=gamma, lam=lam)
    for i, length in enumerate(mask.sum(1).tolist()):
        v = [*values[i, :length].tolist(), 0.0]
        deltas = [rewards[i, t].item() + gamma * v[t + 1] - v[t] for t in range(length)]
        sums = [sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, length)) for t in range(length)]
        assert advantages[i].tolist() == pytest.approx([*sums, *[0.0] * (6 - length)])


@given(seeds, shares)
def test_lambda_zero_is_the_td_error_and_lambda_one_monte_carlo(seed, gamma):
    rewards, values, mask = episode(seed)
    td = generalized_advantages(rewards, values, mask, gamma=gamma, lam=0.0)
    known = torch.where(mask, values, 0.0)
    torch.testing.assert_close(td, n_step_returns(rewards, values, mask, 1, gamma) - known)
    monte_carlo = generalized_advantages(rewards, values, mask, gamma=gamma, lam=1.0)
    torch.testing.assert_close(monte_carlo, rewards_to_go(rewards, mask, gamma) - known)


@given(seeds, shares, st.floats(0, 0.9))
def test_generalized_advantages_are_the_mean_of_n_step_advantages_with_geometric_weights(seed, gamma, lam):
    """A = (1 - lam) sum_n lam^(n-1) A^(n); from n = 6 on, the n-step advantage is the same: weight lam^5."""
    rewards, values, mask = episode(seed)
    weights = [(1 - lam) * lam**n for n in range(5)] + [lam**5]
    steps = [n_step_returns(rewards, values, mask, n, gamma) - torch.where(mask, values, 0.0) for n in range(1, 7)]
    expected = sum(w * a for w, a in zip(weights, steps, strict=True))
    torch.testing.assert_close(generalized_advantages(rewards, values, mask, gamma=gamma, lam=lam), expected)


@given(seeds, st.integers(6, 100), shares)
def test_returns_of_more_steps_than_tokens_are_rewards_to_go(seed, n, gamma):
    rewards, values, mask = episode(seed)
    torch.testing.assert_close(n_step_returns(rewards, values, mask, n, gamma), rewards_to_go(rewards, mask, gamma))


def test_returns_of_no_step_are_a_mistake_of_ours():
    with pytest.raises(AssertionError, match="returns of 0 steps"):
        n_step_returns(REWARDS, VALUES, MASK, 0)


@given(seeds, shares)
def test_a_critic_that_knows_the_rewards_to_go_leaves_no_advantage(seed, lam):
    rewards, _, mask = episode(seed)
    values = rewards_to_go(rewards, mask, 0.9)
    advantages = generalized_advantages(rewards, values, mask, gamma=0.9, lam=lam)
    torch.testing.assert_close(advantages, torch.zeros_like(advantages), atol=1e-12, rtol=0)


TOKEN_FUNCTIONS = {
    "rewards to go": lambda r, v, m: rewards_to_go(r, m, 0.9),
    "n steps": lambda r, v, m: n_step_returns(r, v, m, 2, 0.9),
    "generalized": lambda r, v, m: generalized_advantages(r, v, m, gamma=0.9, lam=0.8),
    "whiten": lambda r, v, m: whiten(r, m),
    "token rewards": lambda r, v, m: token_rewards(torch.arange(4.0, dtype=torch.float64), r, m, 0.1),
}


@pytest.mark.parametrize("junk", [math.nan, math.inf])
@pytest.mark.parametrize("function", TOKEN_FUNCTIONS.values(), ids=TOKEN_FUNCTIONS)
@given(seed=seeds, extra=st.integers(1, 4))
def test_neither_pads_nor_what_stands_in_them_matter(function, junk, seed, extra):
    rewards, values, mask = episode(seed)
    before = function(rewards, values, mask)
    pad = torch.nn.functional.pad
    after = function(
        pad(rewards.masked_fill(~mask, junk), (0, extra), value=junk),
        pad(values.masked_fill(~mask, junk), (0, extra), value=junk),
        pad(mask, (0, extra)),
    )
    torch.testing.assert_close(after, pad(before, (0, extra)))


@pytest.mark.parametrize("function", TOKEN_FUNCTIONS.values(), ids=TOKEN_FUNCTIONS)
def test_a_batch_without_a_token_is_all_zero(function):
    rewards, values, mask = episode(0)
    assert not function(rewards, values, torch.zeros_like(mask)).any()


@pytest.mark.parametrize("name", ["rewards to go", "n steps", "generalized"])
@given(seed=seeds, order=st.permutations(range(4)))
def test_completions_do_not_see_each_other(name, seed, order):
    rewards, values, mask = episode(seed)
    function = TOKEN_FUNCTIONS[name]
    shuffled = function(rewards[order], values[order], mask[order])
    assert torch.equal(shuffled, function(rewards, values, mask)[order])


@given(seeds)
def test_token_rewards_add_up_to_the_penalised_reward_of_the_completion(seed):
    kl, _, mask = episode(seed)
    mask[-1, 0] = True
    rewards = torch.randn(4, dtype=torch.float64)
    per_token = token_rewards(rewards, kl, mask, 0.1)
    torch.testing.assert_close(per_token.sum(1), kl_penalised_rewards(rewards, kl, mask, 0.1))


@given(st.integers(0, 1000))
def test_k1_in_the_reward_has_the_gradient_of_the_kl(seed):
    """By enumeration of one token: REINFORCE with the reward -k1 descends KL(pi || ref).

    So does k2 in the loss; k3 does not.
    """
    generator = torch.Generator().manual_seed(seed)
    logits, ref = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    theta, ref = logits.requires_grad_(), ref.log_softmax(0)
    pi = theta.log_softmax(0)
    (exact,) = torch.autograd.grad((pi.exp() * (pi - ref)).sum(), theta)
    ones, counts = torch.ones(5, 1, dtype=torch.bool), StepCounts(1, 1, 1)

    def gradient(advantages, weights, beta=0.0, kl="k1"):
        logprobs = theta.log_softmax(0)[:, None]
        each = [
            grpo_loss(
                logprobs[i : i + 1],
                logprobs[i : i + 1].detach(),
                advantages[i : i + 1],
                ones[:1],
                counts,
                ref_logprobs=ref[i].view(1, 1),
                surrogate="reinforce",
                beta=beta,
                kl=kl,
            )
            for i in range(5)
        ]
        return torch.autograd.grad((weights * torch.stack(each)).sum(), theta)[0]

    drawn = pi.detach().exp()
    k1 = kl_estimate(pi.detach(), ref, "k1")[:, None]
    in_reward = kl_penalised_rewards(torch.zeros(5, dtype=torch.float64), k1, ones, 1.0)
    torch.testing.assert_close(gradient(in_reward, drawn), exact)
    nothing = torch.zeros(5, dtype=torch.float64)
    torch.testing.assert_close(gradient(nothing, drawn, beta=1.0, kl="k2"), exact)
    assert (gradient(nothing, drawn, beta=1.0, kl="k3") - exact).abs().max() > 1e-3

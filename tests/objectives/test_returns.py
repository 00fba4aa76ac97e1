"""Returns and advantages of single tokens: worked numbers, TRL's and verl's numbers, properties."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ocr_rl.objectives.advantages import reward_to_go_advantages
from ocr_rl.objectives.policy_losses import StepCounts, grpo_loss, kl_estimate
from ocr_rl.objectives.returns import (
    generalized_advantages,
    kl_penalised_rewards,
    missing_end_penalty,
    n_step_returns,
    rewards_to_go,
    token_advantages,
    token_rewards,
    whiten,
)

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


# Token by token: completions of 3 and 2 tokens; what is at the pad does not matter.

MASK = torch.tensor([[True, True, True], [True, True, False]])
REWARDS = torch.tensor([[-0.05, 0.1, 0.9], [0.1, -0.55, math.nan]], dtype=torch.float64)
VALUES = torch.tensor([[0.25, 0.5, 0.75], [-0.25, 0.0, math.inf]], dtype=torch.float64)


def test_rewards_to_go_are_discounted_sums_to_the_end():
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


@pytest.mark.parametrize(
    ("estimator", "advantages"),
    [
        ("gae", [[-0.046875, 0.0125, 0.15], [0.2125, -0.55, 0.0]]),
        ("n_step", [[-0.0625, 0.05, 0.15], [0.075, -0.55, 0.0]]),
        ("td", [[-0.05, -0.025, 0.15], [0.35, -0.55, 0.0]]),
        ("monte_carlo", [[-0.025, 0.05, 0.15], [0.075, -0.55, 0.0]]),
    ],
)
def test_the_advantages_of_each_estimator(estimator, advantages):
    """gamma = lam = 1/2, n = 2. The returns above less V = 0.25, 0.5, 0.75; -0.25, 0.

    gae: delta = -0.05, -0.025, 0.15; then -0.025 + 0.15 / 4 = 0.0125, -0.05 + 0.0125 / 4. Second row: 0.35 - 0.55 / 4.
    """
    found = token_advantages(REWARDS, VALUES, MASK, estimator, gamma=0.5, lam=0.5, n=2)
    torch.testing.assert_close(found, torch.tensor(advantages, dtype=torch.float64))


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
def test_generalized_advantages_are_the_sum_in_the_paper(seed, gamma, lam):
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


@given(seeds, shares, shares)
def test_the_estimators_meet_in_their_limits(seed, gamma, lam):
    """One step is the TD error, GAE's at lambda 0; as many steps as tokens are Monte Carlo, GAE's at lambda 1."""

    def advantages(estimator, lam=lam, n=3):
        return token_advantages(*episode(seed), estimator, gamma=gamma, lam=lam, n=n)

    td, monte_carlo = advantages("td"), advantages("monte_carlo")
    assert torch.equal(td, advantages("n_step", n=1))
    torch.testing.assert_close(td, advantages("gae", lam=0.0))
    torch.testing.assert_close(monte_carlo, advantages("n_step", n=6))
    torch.testing.assert_close(monte_carlo, advantages("gae", lam=1.0))


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


def test_returns_of_no_step_are_an_internal_error():
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
    "monte carlo": lambda r, v, m: token_advantages(r, v, m, "monte_carlo", gamma=0.9, lam=0.8, n=0),
    "td": lambda r, v, m: token_advantages(r, v, m, "td", gamma=0.9, lam=0.8, n=0),
    "reward to go": lambda r, v, m: reward_to_go_advantages(torch.arange(4.0, dtype=torch.float64), r, m),
    "whiten": lambda r, v, m: whiten(r, m),
    "token rewards": lambda r, v, m: token_rewards(torch.arange(4.0, dtype=torch.float64), r, m, 0.1),
}


@pytest.mark.parametrize("junk", [math.nan, math.inf])
@pytest.mark.parametrize("function", TOKEN_FUNCTIONS.values(), ids=TOKEN_FUNCTIONS)
@given(seed=seeds, extra=st.integers(1, 4))
def test_neither_pads_nor_their_values_matter(function, junk, seed, extra):
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


@pytest.mark.parametrize("name", ["rewards to go", "n steps", "generalized", "monte carlo", "td"])
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
    by_token = token_rewards(rewards, kl, mask, 0.1)
    torch.testing.assert_close(by_token.sum(1), kl_penalised_rewards(rewards, kl, mask, 0.1))


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

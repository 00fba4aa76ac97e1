"""Sampling with another engine: worked weights and metrics, TRL's ratios and loss as an oracle, properties."""

import math
from functools import reduce
from operator import add
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import trl_oracle
from helpers.token_batches import batch, counts_of, rows_of, wider, with_junk
from ocr_rl.objectives.off_policy import mismatch_metrics, mismatch_sums, sampling_weights
from ocr_rl.objectives.policy_losses import grpo_loss

KINDS = ("none", "token", "token_mask", "sequence_mask")
LOG2 = math.log(2)


def weights_of(d, mask, kind, cap=2.0):
    """The weights of given log ratios: pi = mu exp(d), mu = 1."""
    return sampling_weights(d, torch.zeros_like(d), mask, kind, cap)


def sampled(seed, noise=0.5):
    """A batch whose `sampling` differs from the trainer's logprobs by `noise` per token."""
    b = batch(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    b.sampling = b.logprobs + noise * torch.randn(b.mask.shape, generator=generator, dtype=torch.float64)
    return b


def sums_of(b, weights):
    return mismatch_sums(b.logprobs, b.sampling, b.mask, weights)


# Worked numbers.


def test_a_token_weight_is_its_ratio_up_to_the_cap():
    """Ratios 4, 1.5, 1/4 under a cap of 2: 2, 1.5, 1/4. A small ratio is not raised."""
    d = torch.tensor([[math.log(4), math.log(1.5), math.log(1 / 4)]])
    weights = weights_of(d, torch.ones(1, 3, dtype=torch.bool), "token")
    torch.testing.assert_close(weights, torch.tensor([[2.0, 1.5, 0.25]]))


def test_a_masked_token_is_one_whose_ratio_is_too_far_from_1():
    """Ratios 4, 1.5, 1/4 and 1/2 under a cap of 2: 0, 1.5, 0 and 1/2."""
    d = torch.tensor([[4, 1.5, 0.25, 0.5]], dtype=torch.float64).log()
    weights = weights_of(d, torch.ones(1, 4, dtype=torch.bool), "token_mask")
    torch.testing.assert_close(weights, torch.tensor([[0, 1.5, 0, 0.5]], dtype=torch.float64))


def test_a_sequence_is_kept_whole_or_dropped_whole_by_its_geometric_mean():
    """Cap 2. (8, 1/8): mean 1, kept. (8, 2): mean 4, dropped. (1/8, 1/2): mean 1/4, dropped. (3, 1): 1.73, kept."""
    d = torch.tensor([[8, 1 / 8], [8, 2], [1 / 8, 1 / 2], [3, 1]]).log()
    weights = weights_of(d, torch.ones(4, 2, dtype=torch.bool), "sequence_mask")
    assert weights.tolist() == [[1, 1], [0, 0], [0, 0], [1, 1]]


def test_a_sequence_at_the_cap_is_kept():
    """Ratio exactly 2, and exactly 1/2, under a cap of 2."""
    d = torch.tensor([[2.0], [0.5]], dtype=torch.float64).log()
    assert weights_of(d, torch.ones(2, 1, dtype=torch.bool), "sequence_mask").tolist() == [[1], [1]]


def test_a_long_sequence_is_judged_like_a_short_one():
    """Every ratio 1.01: the product is 1.01^5000 = 4e21, the geometric mean 1.01 whatever the length."""
    d = torch.full((2, 5000), math.log(1.01))
    mask = torch.arange(5000) < torch.tensor([[10], [5000]])
    assert weights_of(d, mask, "sequence_mask", cap=1.02)[mask].unique().tolist() == [1]
    assert weights_of(d, mask, "sequence_mask", cap=1.005)[mask].unique().tolist() == [0]


def test_without_correction_every_weight_is_one():
    b = sampled(0)
    assert sampling_weights(b.logprobs, b.sampling, b.mask, "none", 2.0).tolist() == torch.ones(4, 6).tolist()


def test_a_token_whose_sampling_log_probability_is_unknown_has_ratio_one():
    """d = (log 4, NaN): token weights 2 and 1; geometric mean (4 * 1)^(1/2) = 2, kept under a cap of 2.001."""
    logprobs, sampling = torch.tensor([[math.log(4), -1.0]]), torch.tensor([[0.0, math.nan]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    torch.testing.assert_close(sampling_weights(logprobs, sampling, mask, "token", 2.0), torch.tensor([[2.0, 1.0]]))
    assert sampling_weights(logprobs, sampling, mask, "sequence_mask", 2.001).tolist() == [[1, 1]]
    assert sampling_weights(logprobs, sampling, mask, "sequence_mask", 1.9).tolist() == [[0, 0]]


def test_a_token_that_is_impossible_for_the_trainer_has_weight_zero():
    d = torch.tensor([[-math.inf, 0.0]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    assert weights_of(d, mask, "token").tolist() == [[0, 1]]
    assert weights_of(d, mask, "sequence_mask").tolist() == [[0, 0]]


def test_weights_have_no_gradient():
    b = sampled(0)
    for kind in KINDS:
        assert not sampling_weights(b.logprobs.requires_grad_(), b.sampling, b.mask, kind, 2.0).requires_grad


def test_a_cap_below_one_is_an_internal_error():
    with pytest.raises(AssertionError, match=r"the cap of an importance ratio is 0.5; it must be at least 1"):
        weights_of(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), "token", 0.5)


def test_the_metrics_of_three_tokens():
    """d = (log 2, -log 2, unknown): k3 = 2 - log 2 - 1 and 1/2 + log 2 - 1, whose mean is 1/4; max |d| = log 2.

    Token weights under a cap of 1.5 are 1.5, 0.5, 1: mean 1, ESS 3^2 / (3 * 3.5) = 6/7.
    """
    logprobs = torch.tensor([[LOG2, -LOG2, -1.0]], dtype=torch.float64)
    sampling = torch.tensor([[0.0, 0.0, math.nan]], dtype=torch.float64)
    mask = torch.ones(1, 3, dtype=torch.bool)
    weights = sampling_weights(logprobs, sampling, mask, "token", 1.5)
    assert mismatch_metrics(mismatch_sums(logprobs, sampling, mask, weights)) == pytest.approx(
        {"mismatch/kl": 1 / 4, "mismatch/max": LOG2, "mismatch/ess": 6 / 7, "mismatch/weight": 1}
    )


def test_under_a_mask_the_effective_sample_size_is_the_share_of_kept_tokens():
    """Completions of 3 and 1 tokens, the second dropped: 3/4 of the tokens are left."""
    d = torch.tensor([[0.0, 0, 0], [3.0, 0, 0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    sums = mismatch_sums(d, torch.zeros(2, 3), mask, weights_of(d, mask, "sequence_mask"))
    metrics = mismatch_metrics(sums)
    assert metrics["mismatch/ess"] == metrics["mismatch/weight"] == pytest.approx(3 / 4)


def test_where_all_is_dropped_the_effective_sample_size_is_zero():
    d, mask = torch.full((1, 2), 3.0), torch.ones(1, 2, dtype=torch.bool)
    assert mismatch_metrics(mismatch_sums(d, d * 0, mask, weights_of(d, mask, "sequence_mask")))["mismatch/ess"] == 0


def test_the_kl_of_a_tiny_difference_survives_float32():
    """d = 1e-4 in float32: k3 = d^2 / 2 = 5e-9 up to 1e-4 of it; exp(d) - d - 1 would give 0 or 1e-7."""
    d, mask = torch.full((1, 1000), 1e-4), torch.ones(1, 1000, dtype=torch.bool)
    kl = mismatch_metrics(mismatch_sums(d, torch.zeros_like(d), mask, torch.ones_like(d)))["mismatch/kl"]
    assert kl == pytest.approx(5e-9, rel=1e-3)


def test_the_kl_is_that_of_the_engine_to_the_trainer():
    """By enumeration: E_mu[exp(d) - d - 1] = sum mu (log mu - log pi) over a vocabulary of five."""
    mu, pi = torch.randn(2, 5, dtype=torch.float64).log_softmax(-1)
    copies = (mu.exp() * 1e6).round().int()  # each token as often as mu draws it
    tokens = torch.arange(5).repeat_interleave(copies)
    ones = torch.ones(1, len(tokens))
    metrics = mismatch_metrics(mismatch_sums(pi[tokens][None], mu[tokens][None], ones.bool(), ones))
    assert metrics["mismatch/kl"] == pytest.approx((mu.exp() * (mu - pi)).sum().item(), rel=1e-4)


def test_page_long_products_lose_their_effective_sample_size_and_token_weights_keep_it():
    """Token noise 0.05, 4,096 tokens: the variance of log rho is 4096 * 0.0025 = 10 for the product, 0.0025 per token.

    For log-normal weights ESS = exp(-var): about e^-10 and 0.9975.
    """
    d = 0.05 * torch.randn(64, 4096, dtype=torch.float64) - 0.05**2 / 2
    mask = torch.ones(64, 4096, dtype=torch.bool)
    product = d.sum(1).exp()
    assert product.sum() ** 2 / product.square().sum() / 64 < 0.3
    metrics = mismatch_metrics(mismatch_sums(d, d * 0, mask, weights_of(d, mask, "token")))
    assert metrics["mismatch/ess"] == pytest.approx(0.9975, abs=1e-3)
    assert weights_of(d, mask, "sequence_mask").all()


# TRL 1.16 as an oracle: its own ratios, and its loss with them.


def trl_ratios(b, mode, cap, low=None):
    lengths = b.mask.sum(1).clamp(min=1).tolist()
    rewards = torch.zeros(2, 2)
    rollout = trl_oracle.rollout(
        trl_oracle.GRPOTrainer,
        rewards,
        lengths=lengths,
        logprobs=b.logprobs[:, : max(lengths)],
        sampling=b.sampling,
        vllm_importance_sampling_mode=mode,
        vllm_importance_sampling_clip_max=cap,
        vllm_importance_sampling_clip_min=low,
    )
    return rollout["importance_sampling_ratio"]


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo", "cispo"])
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_token_weights_and_the_loss_with_them_are_those_of_trl(parity, loss_type, level, beta):
    """token = `token_truncate`. TRL's sampled logprobs are float32; the weights stand before the KL term."""
    normalizer = {"grpo": "sequence", "dapo": "token", "cispo": "token", "dr_grpo": "constant"}[loss_type]
    for seed in range(5):
        b = sampled(seed, noise=1.0)
        b.mask[-1, 0] = True  # TRL's completions have at least one token
        b.sampling = b.sampling.float().double()
        b.sampling[0, 1] = math.nan
        weights = sampling_weights(b.logprobs, b.sampling, b.mask, "token", 2.0)
        theirs = trl_ratios(b, "token_truncate", 2.0)
        parity("importance weights of tokens", "TRL 1.16", weights[b.mask], theirs[b.mask], atol=1e-12)
        assert (weights[b.mask] == 2.0).any()
        cap = 5.0 if loss_type == "cispo" else 0.2
        expected, gradient, _ = trl_oracle.grpo_loss(
            b, loss_type, level=level, beta=beta, weights=theirs, clip_high=cap
        )
        logprobs = b.logprobs.clone().requires_grad_()
        cispo = {"surrogate": "cispo", "clip_low": 1.0, "clip_high": cap - 1}
        loss = grpo_loss(
            logprobs,
            b.old,
            b.advantages,
            b.mask,
            counts_of(b.mask),
            ref_logprobs=b.ref,
            weights=weights,
            normalizer=normalizer,
            ratio=level,
            beta=beta,
            **(cispo if loss_type == "cispo" else {}),
        )
        loss.backward()
        name = {"grpo": "GRPO", "dapo": "DAPO", "cispo": "CISPO", "dr_grpo": "Dr. GRPO"}[loss_type]
        found = (loss.detach(), logprobs.grad)
        parity(f"{name}, loss with importance weights", "TRL 1.16", found, (expected, gradient), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_masked_tokens_are_trl_s(parity, seed):
    b = sampled(seed, noise=0.7)
    b.mask[-1, 0] = True  # TRL's completions have at least one token
    b.sampling = b.sampling.float().double()  # TRL's are float32
    weights = sampling_weights(b.logprobs, b.sampling, b.mask, "token_mask", 2.0)
    theirs = trl_ratios(b, "token_mask", 2.0, low=0.5)
    parity("importance weights of tokens, IcePop's mask", "TRL 1.16", weights[b.mask], theirs[b.mask], atol=1e-12)
    assert 0 < (weights[b.mask] == 0).sum() < b.mask.sum()


def test_for_completions_of_one_token_the_sequence_mask_drops_what_trl_drops():
    """Of one token the product is the geometric mean. TRL keeps the ratio as a weight, we keep 1."""
    b = SimpleNamespace(
        logprobs=torch.zeros(4, 1), sampling=torch.tensor([[-1.0], [-0.5], [0.5], [1.0]]), mask=torch.ones(4, 1).bool()
    )
    theirs = trl_ratios(b, "sequence_mask", 2.0, low=0.5)
    weights = sampling_weights(b.logprobs, b.sampling, b.mask, "sequence_mask", 2.0)
    assert (theirs > 0).tolist() == (weights > 0).tolist() == [[False], [True], [True], [False]]


# Properties.

seeds, kinds = st.integers(0, 10_000), st.sampled_from(KINDS)


@given(seeds, kinds, st.integers(1, 4))
def test_padding_and_its_values_change_nothing(seed, kind, extra):
    b = sampled(seed)
    weights = sampling_weights(b.logprobs, b.sampling, b.mask, kind, 2.0)
    metrics = mismatch_metrics(sums_of(b, weights))
    for other in (wider(b, extra, math.nan), with_junk(b, math.inf), with_junk(b, math.nan)):
        again = sampling_weights(other.logprobs, other.sampling, other.mask, kind, 2.0)
        torch.testing.assert_close(again[other.mask], weights[b.mask])
        assert again.isfinite().all()
        assert mismatch_metrics(sums_of(other, again)) == pytest.approx(metrics)


@given(seeds, kinds, st.permutations(range(4)), st.integers(1, 3))
def test_micro_batches_in_any_order_add_up_to_the_batch(seed, kind, order, cut):
    b = sampled(seed)
    weights = sampling_weights(b.logprobs, b.sampling, b.mask, kind, 2.0)
    shuffled = rows_of(b, order)
    again = sampling_weights(shuffled.logprobs, shuffled.sampling, shuffled.mask, kind, 2.0)
    assert torch.equal(again, weights[order])
    parts = [sums_of(rows_of(shuffled, rows), again[rows]) for rows in (slice(cut), slice(cut, None))]
    assert mismatch_metrics(reduce(add, parts)) == pytest.approx(mismatch_metrics(sums_of(b, weights)))


@given(seeds, st.floats(1, 10))
def test_the_metrics_stay_within_their_bounds(seed, cap):
    b = sampled(seed)
    for kind in KINDS:
        weights = sampling_weights(b.logprobs, b.sampling, b.mask, kind, cap)
        metrics = mismatch_metrics(sums_of(b, weights))
        assert metrics["mismatch/kl"] >= 0
        assert metrics["mismatch/max"] > 0
        assert 0 <= metrics["mismatch/ess"] <= 1 + 1e-9
        assert 0 <= metrics["mismatch/weight"] <= cap


def test_an_engine_that_agrees_has_weight_one_and_no_mismatch():
    b = batch(0)
    b.sampling = b.logprobs
    for kind in KINDS:
        weights = sampling_weights(b.logprobs, b.sampling, b.mask, kind, 1.0)
        assert weights.eq(1).all()
        assert mismatch_metrics(sums_of(b, weights)) == {
            "mismatch/kl": 0,
            "mismatch/max": 0,
            "mismatch/ess": 1,
            "mismatch/weight": 1,
        }


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_a_trained_token_is_finite(kind):
    b = sampled(0)
    b.mask = torch.zeros_like(b.mask)
    weights = sampling_weights(b.logprobs, b.sampling, b.mask, kind, 2.0)
    assert weights.eq(1).all()
    assert set(mismatch_metrics(sums_of(b, weights)).values()) == {0}


@given(seeds)
def test_a_dropped_completion_is_one_with_advantage_zero(seed):
    b = sampled(seed, noise=3.0)
    weights = sampling_weights(b.logprobs, b.sampling, b.mask, "sequence_mask", 1.5)
    dropped = (weights == 0).all(1)

    def loss_and_gradient(advantages, weights):
        logprobs = b.logprobs.clone().requires_grad_()
        loss = grpo_loss(logprobs, b.old, advantages, b.mask, counts_of(b.mask), weights=weights)
        loss.backward()
        return loss.detach(), logprobs.grad

    by_weight = loss_and_gradient(b.advantages, weights)
    by_advantage = loss_and_gradient(b.advantages.masked_fill(dropped, 0.0), None)
    torch.testing.assert_close(by_weight, by_advantage)


def test_the_weights_make_the_gradient_that_of_the_trainers_own_samples():
    """By enumeration of one token: E_mu[(pi / mu) A grad log pi] = E_pi[A grad log pi]."""
    generator = torch.Generator().manual_seed(0)
    mu, theta = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    mu, theta = mu.log_softmax(-1), theta.requires_grad_()
    advantages = torch.randn(5, generator=generator, dtype=torch.float64)

    def gradient(policy_of_samples, weights):
        pi = theta.log_softmax(-1)
        mask, counts = torch.ones(5, 1, dtype=torch.bool), counts_of(torch.ones(5, 1))
        # five completions of one token each, weighted by their probability
        loss = grpo_loss(
            pi[:, None],
            pi[:, None].detach(),
            advantages * policy_of_samples.exp() * 5,
            mask,
            counts,
            weights=weights,
        )
        return torch.autograd.grad(loss, theta)[0]

    pi = theta.detach().log_softmax(-1)
    weights = sampling_weights(pi[:, None], mu[:, None], torch.ones(5, 1, dtype=torch.bool), "token", 1e9)
    torch.testing.assert_close(gradient(mu, weights), gradient(pi, None))

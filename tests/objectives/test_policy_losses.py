"""Policy-gradient losses: worked numbers with the gradient, TRL's own losses as oracles, and properties."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import trl_oracle
from helpers.token_batches import batch, counts_of, rows_of, wider, with_junk
from ocr_rl.objectives.policy_losses import (
    StepCounts,
    adapted_kl_coefficient,
    aggregate,
    cispo_surrogate,
    clip_fraction,
    clipped_surrogate,
    grpo_loss,
    importance_ratio,
    kl_estimate,
    reinforce_surrogate,
)

NORMALIZERS = ("token", "sequence", "constant")
RATIOS = ("token", "sequence")
SURROGATES = ("clip", "cispo", "reinforce")
ESTIMATORS = ("k1", "k2", "k3")


def value_and_gradient(b, counts=None, **options):
    logprobs = b.logprobs.clone().requires_grad_()
    ref = b.ref if options.get("beta") else None
    options = {"ref_logprobs": ref, "weights": getattr(b, "weights", None)} | options
    loss = grpo_loss(logprobs, b.old, b.advantages, b.mask, counts or counts_of(b.mask), **options)
    loss.backward()
    return loss.detach(), logprobs.grad


# Worked numbers. Two completions of 1 and 3 tokens, advantages 2 and -1, at ratio 1: per-token losses -2 | 1 1 1.

TWO = SimpleNamespace(
    logprobs=torch.tensor([[-1.0, 0, 0], [-2.0, -3, -1]]),
    old=torch.tensor([[-1.0, 0, 0], [-2.0, -3, -1]]),
    advantages=torch.tensor([2.0, -1.0]),
    mask=torch.tensor([[True, False, False], [True, True, True]]),
)


@pytest.mark.parametrize(
    ("normalizer", "value", "gradient"),
    [
        ("token", (-2 + 3) / 4, [[-2 / 4, 0, 0], [1 / 4, 1 / 4, 1 / 4]]),
        ("sequence", (-2 + 1) / 2, [[-2 / 2, 0, 0], [1 / 6, 1 / 6, 1 / 6]]),
        ("constant", (-2 + 3) / (2 * 5), [[-2 / 10, 0, 0], [1 / 10, 1 / 10, 1 / 10]]),
    ],
)
def test_each_normalizer_divides_by_what_it_says(normalizer, value, gradient):
    """4 tokens; 2 completions whose token means are -2 and 1; 2 completions of at most 5 tokens."""
    loss, grad = value_and_gradient(TWO, StepCounts(tokens=4, completions=2, max_tokens=5), normalizer=normalizer)
    assert loss.item() == pytest.approx(value)
    torch.testing.assert_close(grad, torch.tensor(gradient))


def test_a_descent_step_makes_good_completions_likelier_and_bad_ones_less_likely():
    _, grad = value_and_gradient(TWO)
    assert (grad[0, :1] < 0).all()
    assert (grad[1] > 0).all()


def test_the_token_ratio_compares_token_by_token_and_the_sequence_ratio_takes_the_geometric_mean():
    """log ratios [log 4, 0] of two tokens: ratios 4 and 1, geometric mean 2."""
    logprobs, old = torch.tensor([[-1 + math.log(4), -2.0]]), torch.tensor([[-1.0, -2.0]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    torch.testing.assert_close(importance_ratio(logprobs, old, mask, "token"), torch.tensor([[4.0, 1.0]]))
    torch.testing.assert_close(importance_ratio(logprobs, old, mask, "sequence"), torch.tensor([[2.0]]))


def test_the_product_ratio_sees_the_completion_as_one_action():
    """log ratios [log 4, log 1/2, pad]: 4 * 1/2 = 2."""
    logprobs = torch.tensor([[math.log(4), math.log(1 / 2), 5.0]])
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(importance_ratio(logprobs, torch.zeros(1, 3), mask, "product"), torch.tensor([[2.0]]))


@pytest.mark.parametrize(
    ("ratio", "advantage", "weight"),
    [
        (1.0, 2.0, 1.0),  # on policy
        (3.0, 2.0, 1.5),  # a good token that is already likelier still learns, at the largest weight
        (3.0, -2.0, 1.5),  # and so does a bad one
        (0.25, 2.0, 0.5),  # the lower bound
        (0.25, -2.0, 0.5),
    ],
)
def test_cispo_clips_the_weight_and_keeps_the_gradient(ratio, advantage, weight):
    """-sg(clip(rho, 0.5, 1.5)) A log pi with log pi = -2, and its derivative by log pi, -weight A."""
    logprobs = torch.tensor([[-2.0]], dtype=torch.float64, requires_grad=True)
    rho = torch.tensor([[ratio]], dtype=torch.float64) * (logprobs - logprobs.detach()).exp()
    surrogate = cispo_surrogate(rho, logprobs, torch.tensor([advantage], dtype=torch.float64), 0.5, 0.5)
    surrogate.sum().backward()
    assert surrogate.item() == pytest.approx(-weight * advantage * -2)
    assert logprobs.grad.item() == pytest.approx(-weight * advantage)


def test_reinforce_weighs_log_probabilities_by_advantages():
    """-A log pi: A = 2 at log pi -1 and -3, A = -1 at -2: 2, 6 and -2. Slopes -A."""
    logprobs = torch.tensor([[-1.0, -3.0], [-2.0, 0.0]], requires_grad=True)
    surrogate = reinforce_surrogate(logprobs, torch.tensor([2.0, -1.0]))
    surrogate.sum().backward()
    assert surrogate.tolist() == [[2, 6], [-2, 0]]
    assert logprobs.grad.tolist() == [[-2, -2], [1, 1]]


def test_each_token_may_have_an_advantage_of_its_own():
    """On policy, advantages (3, pad, pad) and (1, 2, -6) over 4 tokens: loss -(3 + 1 + 2 - 6) / 4, slopes -A / 4."""
    b = SimpleNamespace(**vars(TWO) | {"advantages": torch.tensor([[3.0, math.nan, 7.0], [1.0, 2.0, -6.0]])})
    for surrogate in ("clip", "cispo", "reinforce"):
        loss, grad = value_and_gradient(b, surrogate=surrogate)
        assert grad.tolist() == [[-3 / 4, 0, 0], [-1 / 4, -2 / 4, 6 / 4]]
        if surrogate == "clip":
            assert loss.item() == 0


def test_weights_multiply_the_surrogate_and_not_the_kl_term():
    """One token on policy, A = 3, weight 1/2, d = log 1/2, beta 0.1: -3/2 + 0.1 (log 2 - 1/2); slope -3/2 + 0.1 / 2."""
    b = SimpleNamespace(
        logprobs=torch.tensor([[math.log(1 / 2)]]),
        old=torch.tensor([[math.log(1 / 2)]]),
        ref=torch.tensor([[math.log(1 / 4)]]),
        advantages=torch.tensor([3.0]),
        mask=torch.ones(1, 1, dtype=torch.bool),
        weights=torch.tensor([[0.5]]),
    )
    loss, grad = value_and_gradient(b, beta=0.1)
    assert loss.item() == pytest.approx(-1.5 + 0.1 * (math.log(2) - 0.5), rel=1e-5)
    assert grad.item() == pytest.approx(-1.5 + 0.05, rel=1e-5)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),  # on policy
        (1.1, 2.0, -2.2, -2.2),  # inside the range
        (1.5, 2.0, -1.25 * 2, 0.0),  # a good token that is already likelier: no more
        (0.5, 2.0, -1.0, -1.0),  # a good token that became unlikely: pulled back
        (0.5, -2.0, 0.9 * 2, 0.0),  # a bad token that is already less likely: no more
        (1.5, -2.0, 3.0, 3.0),  # a bad token that became likelier: pushed down at full strength
    ],
)
def test_the_clip_only_stops_what_has_gone_far_enough(ratio, advantage, loss, slope):
    """-min(rho A, clip(rho, 0.9, 1.25) A), and its derivative by log pi, -rho A where it is not clipped."""
    logprobs = torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    surrogate = clipped_surrogate(logprobs.exp(), torch.tensor([advantage], dtype=torch.float64), 0.1, 0.25)
    surrogate.sum().backward()
    assert surrogate.item() == pytest.approx(loss)
    assert logprobs.grad.item() == pytest.approx(slope)


def test_the_kl_estimators_of_one_token():
    """pi = 1/2, ref = 1/4, d = log 1/2: k1 = log 2, k2 = (log 2)^2 / 2, k3 = 1/2 + log 2 - 1."""
    pi, ref = torch.tensor([math.log(1 / 2)]), torch.tensor([math.log(1 / 4)])
    log2 = math.log(2)
    for name, value in {"k1": log2, "k2": log2**2 / 2, "k3": log2 - 0.5}.items():
        assert kl_estimate(pi, ref, name).item() == pytest.approx(value, rel=1e-6)


def test_the_kl_term_pulls_towards_the_reference():
    """One token, A = 0, d = log 1/2, beta 0.1: loss 0.1 (log 2 - 1/2); d k3 / d log pi = 1 - exp(d) = 1/2 > 0."""
    b = SimpleNamespace(
        logprobs=torch.tensor([[math.log(1 / 2)]]),
        old=torch.tensor([[math.log(1 / 2)]]),
        ref=torch.tensor([[math.log(1 / 4)]]),
        advantages=torch.zeros(1),
        mask=torch.ones(1, 1, dtype=torch.bool),
    )
    loss, grad = value_and_gradient(b, beta=0.1)
    assert loss.item() == pytest.approx(0.1 * (math.log(2) - 0.5), rel=1e-5)
    assert grad.item() == pytest.approx(0.1 * 0.5, rel=1e-5)


def test_clip_fraction_counts_the_tokens_whose_gradient_the_clip_removes():
    """Ratios 2, 0.5 with A > 0: the first. Ratios 2, 0.5 with A < 0: the second. The masked 2 does not count: 2/4."""
    log2 = math.log(2)
    logprobs = torch.tensor([[log2, -log2, log2], [log2, -log2, -log2]])
    mask = torch.tensor([[True, True, False], [True, True, False]])
    advantages = torch.tensor([1.0, -1.0])
    share = clip_fraction(logprobs, torch.zeros(2, 3), advantages, mask, clip_low=0.2, clip_high=0.2, ratio="token")
    assert share.item() == 2 / 4


def test_clip_fraction_agrees_with_the_gradient():
    for seed in range(20):
        b = batch(seed)
        _, grad = value_and_gradient(b)
        share = clip_fraction(b.logprobs, b.old, b.advantages, b.mask, clip_low=0.2, clip_high=0.2, ratio="token")
        assert share.item() == pytest.approx((grad[b.mask] == 0).double().mean().item())


# The KL estimators by enumeration of a vocabulary of five.

five_logits = st.lists(st.floats(-3, 3), min_size=5, max_size=5).map(
    lambda values: torch.tensor(values, dtype=torch.float64).log_softmax(0)
)


@given(pi=five_logits, ref=five_logits)
def test_k1_and_k3_are_unbiased_and_k3_is_never_negative(parity, pi, ref):
    """E_pi[k] = sum over the vocabulary of pi k; KL(pi || ref) = sum pi (log pi - log ref)."""
    exact = (pi.exp() * (pi - ref)).sum()
    for estimator in ("k1", "k3"):
        mean = (pi.exp() * kl_estimate(pi, ref, estimator)).sum()
        parity(f"KL {estimator}, mean", "exact KL by enumeration", mean, exact, atol=1e-12, rtol=1e-9)
    assert (kl_estimate(pi, ref, "k3") >= -1e-15).all()


@given(logits=five_logits, ref=five_logits)
def test_the_expected_gradient_of_k2_is_the_gradient_of_the_kl(parity, logits, ref):
    """E_pi[d k2 / d theta] = E_pi[(log pi - log ref) grad log pi] = grad KL, where k3's has bias."""
    theta = logits.clone().requires_grad_()
    pi = theta.log_softmax(0)
    (pi.exp() * (pi - ref)).sum().backward()
    exact = theta.grad.clone()
    theta.grad = None
    pi = theta.log_softmax(0)
    (pi.detach().exp() * kl_estimate(pi, ref, "k2")).sum().backward()
    parity("KL k2, mean gradient", "exact KL by enumeration", theta.grad, exact, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_estimator_sees_a_difference_between_a_policy_and_itself(estimator):
    logprobs = torch.randn(3, 4)
    assert torch.equal(kl_estimate(logprobs, logprobs, estimator), torch.zeros(3, 4))


@pytest.mark.parametrize(
    ("kl", "factor"),
    [
        (6.0, 1.0),  # on target
        (6.6, 1 + 0.1 * 0.1),  # a tenth above it
        (5.4, 1 - 0.1 * 0.1),
        (60.0, 1 + 0.1 * 0.2),  # far above it: the error is clipped at 0.2
        (0.0, 1 - 0.1 * 0.2),
        (-1.0, 1 - 0.1 * 0.2),  # an estimate may be negative
    ],
)
def test_the_kl_coefficient_follows_the_error_in_small_steps(kl, factor):
    """beta (1 + 0.1 clip((KL - 6) / 6, -0.2, 0.2)) at beta = 0.05."""
    assert adapted_kl_coefficient(0.05, kl, 6.0) == pytest.approx(0.05 * factor)


def test_the_kl_coefficient_brings_the_kl_to_its_target():
    """If the KL is 1 / beta, beta = 1 / 6 holds it at 6."""
    beta = 0.01
    for _ in range(500):
        beta = adapted_kl_coefficient(beta, 1 / beta, 6.0)
    assert 1 / beta == pytest.approx(6.0, rel=1e-3)


def test_a_kl_target_of_zero_is_an_internal_error():
    with pytest.raises(AssertionError, match="the target of the KL is 0; it must be above 0"):
        adapted_kl_coefficient(0.05, 1.0, 0)


# TRL 1.16 as an oracle, then numbers of TRL 0.11.4 and verl 0.5.0, run once on these batches.


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "bnpo", "dr_grpo"])
@pytest.mark.parametrize("level", RATIOS)
@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize(("clip_low", "clip_high"), [(0.2, 0.2), (0.1, 0.28)])
def test_value_and_gradient_are_those_of_trl(parity, loss_type, level, beta, clip_low, clip_high):
    """grpo = sequence, dapo = token, dr_grpo = constant; bnpo is token where the batch is one micro-batch."""
    normalizer = {"grpo": "sequence", "dapo": "token", "bnpo": "token", "dr_grpo": "constant"}[loss_type]
    name = {"grpo": "GRPO", "dapo": "DAPO", "bnpo": "BNPO", "dr_grpo": "Dr. GRPO"}[loss_type]
    if level == "sequence":
        name = "GSPO" if loss_type == "grpo" else f"{name}, ratio of sequences"
    for seed in range(10):
        b = batch(seed)
        loss, grad, metrics = trl_oracle.grpo_loss(
            b, loss_type, level=level, clip_low=clip_low, clip_high=clip_high, beta=beta, max_tokens=10
        )
        ours, our_grad = value_and_gradient(
            b, normalizer=normalizer, ratio=level, clip_low=clip_low, clip_high=clip_high, beta=beta
        )
        parity(f"{name}, loss", "TRL 1.16", (ours, our_grad), (loss, grad), atol=1e-12)
        share = clip_fraction(
            b.logprobs, b.old, b.advantages, b.mask, clip_low=clip_low, clip_high=clip_high, ratio=level
        )
        if level == "token":  # TRL's sequence level counts completions, ours the tokens of clipped completions
            assert share.item() == pytest.approx(metrics["clip_ratio/region_mean"][0])


@pytest.mark.parametrize("level", RATIOS)
@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("largest", [1.2, 5.0])
def test_cispo_is_that_of_trl(parity, level, beta, largest):
    """TRL's epsilon_high is the largest weight, 1 + clip_high here; it has no smallest weight."""
    name = "CISPO" if level == "token" else "CISPO, ratio of sequences"
    for seed in range(10):
        b = batch(seed)
        loss, grad, _ = trl_oracle.grpo_loss(b, "cispo", level=level, clip_high=largest, beta=beta)
        ours, our_grad = value_and_gradient(
            b, surrogate="cispo", ratio=level, clip_low=1.0, clip_high=largest - 1, beta=beta
        )
        parity(f"{name}, loss", "TRL 1.16", (ours, our_grad), (loss, grad), atol=1e-12)


@pytest.mark.parametrize(("clip_low", "clip_high"), [(0.2, 0.2), (0.1, 0.28)])
def test_rloo_is_that_of_trl(parity, clip_low, clip_high):
    """The completion as one action. TRL counts -A for one without a token; we count 0."""
    for seed in range(10):
        b = batch(seed)
        b.mask[-1, 0] = True
        loss, grad = trl_oracle.rloo_loss(b, clip_low=clip_low, clip_high=clip_high)
        ours, our_grad = value_and_gradient(
            b, ratio="product", normalizer="sequence", clip_low=clip_low, clip_high=clip_high
        )
        parity("RLOO, loss", "TRL 1.16", (ours, our_grad), (loss, grad), atol=1e-12)


def test_the_k3_term_alone_is_that_of_trl(parity):
    """Without advantages the loss is beta k3, here its mean over the tokens."""
    for seed in range(10):
        b = batch(seed)
        b.advantages = torch.zeros(4, dtype=torch.float64)
        loss, grad, _ = trl_oracle.grpo_loss(b, "dapo", beta=1.0)
        parity("KL k3, in the loss", "TRL 1.16", value_and_gradient(b, beta=1.0), (loss, grad), atol=1e-12)


@pytest.mark.parametrize(("clip_low", "clip_high"), [(0.2, 0.2), (0.1, 0.28)])
def test_the_policy_loss_with_an_advantage_per_token_is_that_of_trl(parity, clip_low, clip_high):
    for seed in range(10):
        b = general(seed)
        b.weights = None
        loss, grad, _ = trl_oracle.grpo_loss(b, "dapo", clip_low=clip_low, clip_high=clip_high)
        ours = value_and_gradient(b, clip_low=clip_low, clip_high=clip_high)
        parity("PPO, policy loss", "TRL 1.16, advantages per token", ours, (loss, grad), atol=1e-12)


FIVE = SimpleNamespace(
    logprobs=torch.tensor([[-0.25, -1.5, -1.875], [-1.0, -0.75, math.nan]], dtype=torch.float64),
    old=torch.tensor([[-0.5, -1.0, -2.0], [-1.5, -0.25, math.nan]], dtype=torch.float64),
    ref=torch.tensor([[-0.75, -0.5, -2.5], [-1.0, -0.5, math.nan]], dtype=torch.float64),
    advantages=torch.tensor([[0.75, 0.5, -0.25], [-0.5, -1.0, math.nan]], dtype=torch.float64),
    mask=torch.tensor([[True, True, True], [True, True, False]]),
)


def test_the_policy_loss_of_ppo_has_the_numbers_of_trl_and_verl(parity):
    """Ratios e^(1/4, -1/2, 1/8; 1/2, -1/2), clip 0.2: (-0.9 - 0.5 e^-0.5 + 0.25 e^0.125 + 0.5 e^0.5 + 0.8) / 5."""
    gradient = [[0.0, -0.06065306597126335, 0.05665742265334132], [0.16487212707001284, 0.0, 0.0]]
    theirs = (torch.tensor(0.14087648375209083, dtype=torch.float64), torch.tensor(gradient, dtype=torch.float64))
    for oracle in ("TRL 0.11.4, numbers", "verl 0.5.0, numbers"):
        parity("PPO, policy loss", oracle, value_and_gradient(FIVE), theirs, atol=1e-9)


@pytest.mark.parametrize(
    ("estimator", "values", "slopes"),
    [
        ("k1", [0.25, -0.5, 0.5, -0.5, 0.25], [1.0, 1.0, 1.0, 1.0, 1.0]),
        ("k2", [0.03125, 0.125, 0.125, 0.125, 0.03125], [0.25, -0.5, 0.5, -0.5, 0.25]),
        (
            "k3",
            [0.02880078307140499, 0.1487212707001282, 0.10653065971263342, 0.1487212707001282, 0.02880078307140499],
            [0.22119921692859512, -0.6487212707001282, 0.3934693402873666, -0.6487212707001282, 0.22119921692859512],
        ),
    ],
)
def test_the_kl_estimators_have_the_numbers_of_verl(parity, estimator, values, slopes):
    """verl's kl_penalty; TRL 0.11.4's has the same k1 ("kl") and k2 ("mse")."""
    logprobs = FIVE.old[FIVE.mask].requires_grad_()
    ours = kl_estimate(logprobs, FIVE.ref[FIVE.mask], estimator)
    (gradient,) = torch.autograd.grad(ours.sum(), logprobs)
    theirs = torch.tensor([values, slopes], dtype=torch.float64)
    for oracle in ["verl 0.5.0, numbers"] + ["TRL 0.11.4, numbers"] * (estimator != "k3"):
        parity(f"KL {estimator}", oracle, torch.stack([ours.detach(), gradient]), theirs, atol=1e-12)


# Properties.

seeds = st.integers(0, 10_000)
options = st.fixed_dictionaries(
    {
        "normalizer": st.sampled_from(NORMALIZERS),
        "ratio": st.sampled_from([*RATIOS, "product"]),
        "surrogate": st.sampled_from(SURROGATES),
        "beta": st.sampled_from([0.0, 0.1]),
        "kl": st.sampled_from(ESTIMATORS),
    }
)


@given(seeds, options, st.integers(1, 4))
def test_padding_columns_change_nothing(seed, options, extra):
    b = batch(seed)
    wide = SimpleNamespace(**vars(b))
    for name in ("logprobs", "old", "ref"):
        setattr(wide, name, torch.cat([getattr(b, name), torch.randn(4, extra, dtype=torch.float64)], dim=1))
    wide.mask = torch.cat([b.mask, torch.zeros(4, extra, dtype=torch.bool)], dim=1)
    loss, grad = value_and_gradient(b, **options)
    wide_loss, wide_grad = value_and_gradient(wide, **options)
    torch.testing.assert_close(wide_loss, loss)
    torch.testing.assert_close(wide_grad[:, :6], grad)
    assert not wide_grad[:, 6:].any()


@given(seeds, options, st.permutations(range(4)))
def test_the_order_of_completions_does_not_matter(seed, options, order):
    b = batch(seed)
    loss, grad = value_and_gradient(b, **options)
    shuffled_loss, shuffled_grad = value_and_gradient(rows_of(b, order), **options)
    torch.testing.assert_close(shuffled_loss, loss)
    torch.testing.assert_close(shuffled_grad, grad[order])


@given(seeds, options, st.integers(1, 3))
def test_the_losses_of_micro_batches_add_up_to_the_loss_of_the_batch(seed, options, cut):
    b = batch(seed)
    counts = counts_of(b.mask)
    loss, grad = value_and_gradient(b, counts, **options)
    parts = [value_and_gradient(rows_of(b, rows), counts, **options) for rows in (slice(cut), slice(cut, None))]
    torch.testing.assert_close(sum(part for part, _ in parts), loss)
    torch.testing.assert_close(torch.cat([part for _, part in parts]), grad)


@given(seeds, options)
def test_zero_advantages_have_no_gradient(seed, options):
    b = batch(seed)
    b.advantages = torch.zeros(4, dtype=torch.float64)
    loss, grad = value_and_gradient(b, **options | {"beta": 0.0})
    assert loss == 0
    assert not grad.any()


@given(seeds, options)
def test_a_batch_without_a_trained_token_has_loss_zero_and_no_gradient(seed, options):
    b = batch(seed)
    b.mask = torch.zeros_like(b.mask)
    loss, grad = value_and_gradient(b, **options)
    assert loss == 0
    assert torch.equal(grad, torch.zeros_like(grad))


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf])
@given(seed=seeds, options=options)
def test_masked_values_do_not_matter(junk, seed, options):
    b = batch(seed)
    loss, grad = value_and_gradient(b, **options)
    for name in ("logprobs", "old", "ref"):
        setattr(b, name, getattr(b, name).masked_fill(~b.mask, junk))
    junk_loss, junk_grad = value_and_gradient(b, **options)
    torch.testing.assert_close(junk_loss, loss)
    torch.testing.assert_close(junk_grad, grad)


@given(seeds, st.sampled_from(RATIOS))
def test_on_policy_the_gradient_is_that_of_reinforce(seed, ratio):
    """At ratio 1, dL / d log pi = -A / N for each of the N trained tokens, and L = -sum A / N."""
    b = batch(seed)
    b.old = b.logprobs
    loss, grad = value_and_gradient(b, ratio=ratio, normalizer="sequence" if ratio == "sequence" else "token")
    tokens = b.mask.sum(1, keepdim=True) * len(b.mask) if ratio == "sequence" else b.mask.sum()
    expected = torch.where(b.mask, -b.advantages[:, None] / tokens, 0.0)
    torch.testing.assert_close(grad, expected)
    torch.testing.assert_close(loss, expected.sum())


@given(seeds, st.sampled_from(NORMALIZERS), st.sampled_from(["clip", "cispo"]))
def test_on_policy_every_surrogate_has_the_gradient_of_reinforce(seed, normalizer, surrogate):
    b = batch(seed)
    b.old = b.logprobs
    _, expected = value_and_gradient(b, surrogate="reinforce", normalizer=normalizer)
    _, gradient = value_and_gradient(b, surrogate=surrogate, normalizer=normalizer)
    torch.testing.assert_close(gradient, expected)


@given(seeds)
def test_on_policy_the_completion_as_one_action_has_the_gradient_of_the_sum_of_its_tokens(seed):
    """RLOO: the mean over completions of A grad sum_t log pi; REINFORCE summed over tokens, divided by completions."""
    b = batch(seed)
    b.old = b.logprobs
    _, rloo = value_and_gradient(b, ratio="product", normalizer="sequence")
    _, reinforce = value_and_gradient(b, counts_of(b.mask, 1), surrogate="reinforce", normalizer="constant")
    torch.testing.assert_close(rloo, reinforce)


@given(seeds)
def test_reinforce_and_a_wide_cispo_differ_by_the_ratio(seed):
    """Without bounds CISPO's gradient is that of the ratio itself, rho A, and the clip's where it does not clip."""
    b = batch(seed)
    _, cispo = value_and_gradient(b, surrogate="cispo", clip_low=1.0, clip_high=1e9)
    _, ratio = value_and_gradient(b, clip_low=1.0, clip_high=1e9)
    _, reinforce = value_and_gradient(b, surrogate="reinforce")
    torch.testing.assert_close(cispo, ratio)
    torch.testing.assert_close(cispo, reinforce * importance_ratio(b.logprobs, b.old, b.mask, "token"))


def general(seed):
    """A batch with weights and an advantage per token."""
    b = batch(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    b.advantages = torch.randn(b.mask.shape, generator=generator, dtype=torch.float64)
    b.weights = torch.rand(b.mask.shape, generator=generator, dtype=torch.float64) * 2
    return b


@pytest.mark.parametrize("junk", [math.nan, math.inf])
@given(seed=seeds, options=options, extra=st.integers(1, 3))
def test_pads_of_weights_and_of_advantages_per_token_change_nothing(junk, seed, options, extra):
    b = general(seed)
    loss, grad = value_and_gradient(b, **options)
    junk_loss, junk_grad = value_and_gradient(wider(with_junk(b, junk), extra, junk), counts_of(b.mask), **options)
    torch.testing.assert_close(junk_loss, loss)
    torch.testing.assert_close(junk_grad[:, :6], grad)
    assert not junk_grad[:, 6:].any()


@given(seeds, options, st.permutations(range(4)), st.integers(1, 3))
def test_micro_batches_with_weights_and_advantages_per_token_add_up(seed, options, order, cut):
    b = general(seed)
    counts = counts_of(b.mask)
    loss, grad = value_and_gradient(b, counts, **options)
    shuffled = rows_of(b, order)
    parts = [value_and_gradient(rows_of(shuffled, rows), counts, **options) for rows in (slice(cut), slice(cut, None))]
    torch.testing.assert_close(sum(part for part, _ in parts), loss)
    torch.testing.assert_close(torch.cat([part for _, part in parts]), grad[order])


@given(seeds, options)
def test_equal_advantages_per_token_are_one_per_completion_and_equal_weights_are_a_factor(seed, options):
    b = batch(seed)
    loss, grad = value_and_gradient(b, **options | {"beta": 0.0})
    b.advantages = b.advantages[:, None].expand(b.mask.shape)
    b.weights = torch.full(b.mask.shape, 0.5, dtype=torch.float64)
    half_loss, half_grad = value_and_gradient(b, **options | {"beta": 0.0})
    torch.testing.assert_close(2 * half_loss, loss)
    torch.testing.assert_close(2 * half_grad, grad)


@given(seeds)
def test_the_slope_of_the_product_ratio_is_that_of_its_loss(seed):
    b = general(seed)
    options = {"normalizer": "sequence", "ratio": "product", "weights": b.weights, "clip_low": 1.0, "clip_high": 1e9}

    def loss(logprobs):
        return grpo_loss(logprobs, b.old, b.advantages, b.mask, counts_of(b.mask), **options)

    assert torch.autograd.gradcheck(loss, b.logprobs.clone().requires_grad_())


@given(seeds)
def test_the_gradient_is_the_slope_of_the_loss(seed):
    b = batch(seed)
    options = {"normalizer": "sequence", "ratio": "sequence", "beta": 0.1, "clip_low": 10.0, "clip_high": 10.0}
    ref = b.ref

    def loss(logprobs):
        return grpo_loss(logprobs, b.old, b.advantages, b.mask, counts_of(b.mask), ref_logprobs=ref, **options)

    assert torch.autograd.gradcheck(loss, b.logprobs.clone().requires_grad_())


def test_a_kl_term_without_reference_is_an_internal_error():
    with pytest.raises(AssertionError, match="beta > 0 needs ref_logprobs"):
        grpo_loss(TWO.logprobs, TWO.old, TWO.advantages, TWO.mask, counts_of(TWO.mask), beta=0.1)


def test_an_aggregate_of_nothing_is_zero():
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    for normalizer in NORMALIZERS:
        assert aggregate(torch.full((1, 3), math.nan), nothing, normalizer, StepCounts(0, 1, 5)) == 0

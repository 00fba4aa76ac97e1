"""The GRPO loss: worked numbers with the gradient, TRL's own loss as an oracle, and properties."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ocr_rl.losses import (
    StepCounts,
    aggregate,
    clip_fraction,
    clipped_surrogate,
    grpo_loss,
    importance_ratio,
    kl_estimate,
)

NORMALIZERS = ("token", "sequence", "constant")
RATIOS = ("token", "sequence")
ESTIMATORS = ("k1", "k2", "k3")


def batch(seed, rows=4, width=6):
    """Random logprobs whose ratios fall below, inside and above the clip range; float64; ragged; one row untrained."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(3, rows, width, generator=generator, dtype=torch.float64)
    logprobs = -1 - draw[0].abs()
    lengths = torch.randint(1, width + 1, (rows,), generator=generator)
    lengths[0], lengths[-1] = width, 0
    return SimpleNamespace(
        logprobs=logprobs,
        old=logprobs + 0.3 * draw[1],
        ref=logprobs + 0.5 * draw[2],
        advantages=torch.randn(rows, generator=generator, dtype=torch.float64),
        mask=torch.arange(width) < lengths[:, None],
    )


def counts_of(mask, max_tokens=10):
    return StepCounts(int(mask.sum()), len(mask), max_tokens)


def value_and_gradient(b, counts=None, **options):
    logprobs = b.logprobs.clone().requires_grad_()
    ref = b.ref if options.get("beta") else None
    loss = grpo_loss(logprobs, b.old, b.advantages, b.mask, counts or counts_of(b.mask), ref_logprobs=ref, **options)
    loss.backward()
    return loss.detach(), logprobs.grad


def rows_of(b, rows):
    return SimpleNamespace(**{name: tensor[rows] for name, tensor in vars(b).items()})


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


@given(five_logits, five_logits)
def test_k1_and_k3_are_unbiased_and_k3_is_never_negative(pi, ref):
    """E_pi[k] = sum over the vocabulary of pi k; KL(pi || ref) = sum pi (log pi - log ref)."""
    exact = (pi.exp() * (pi - ref)).sum()
    for estimator in ("k1", "k3"):
        torch.testing.assert_close((pi.exp() * kl_estimate(pi, ref, estimator)).sum(), exact, atol=1e-12, rtol=1e-9)
    assert (kl_estimate(pi, ref, "k3") >= -1e-15).all()


@given(five_logits, five_logits)
def test_the_expected_gradient_of_k2_is_the_gradient_of_the_kl(logits, ref):
    """E_pi[d k2 / d theta] = E_pi[(log pi - log ref) grad log pi] = grad KL, where k3's has bias."""
    theta = logits.clone().requires_grad_()
    pi = theta.log_softmax(0)
    (pi.exp() * (pi - ref)).sum().backward()
    exact = theta.grad.clone()
    theta.grad = None
    pi = theta.log_softmax(0)
    (pi.detach().exp() * kl_estimate(pi, ref, "k2")).sum().backward()
    torch.testing.assert_close(theta.grad, exact, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_estimator_sees_a_difference_between_a_policy_and_itself(estimator):
    logprobs = torch.randn(3, 4)
    assert torch.equal(kl_estimate(logprobs, logprobs, estimator), torch.zeros(3, 4))


# TRL 1.16 as an oracle: `GRPOTrainer._compute_loss` with the model's part stubbed.


def trl_loss(b, loss_type, *, level, clip_low, clip_high, beta, max_tokens):
    from trl import GRPOTrainer

    logprobs = b.logprobs.clone().requires_grad_()
    accelerator = SimpleNamespace(
        num_processes=1, reduce=lambda t, reduction: t, gather=lambda t: t, gather_for_metrics=lambda t: t
    )
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logprobs, torch.zeros_like(logprobs), None),
        accelerator=accelerator,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        aux_loss_enabled=False,
        beta=beta,
        current_gradient_accumulation_steps=1,
        epsilon_low=clip_low,
        epsilon_high=clip_high,
        importance_sampling_level=level,
        loss_type=loss_type,
        max_completion_length=max_tokens,
        model=SimpleNamespace(training=True),
        off_policy_mask_threshold=None,
        top_entropy_quantile=1.0,
        use_vllm=False,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
    )
    ids = torch.zeros(b.mask.shape, dtype=torch.long)
    inputs = {
        "prompt_ids": ids[:, :1],
        "prompt_mask": torch.ones_like(ids[:, :1]),
        "completion_ids": ids,
        "completion_mask": b.mask.long(),
        "advantages": b.advantages,
        "old_per_token_logps": b.old,
        "ref_per_token_logps": b.ref,
        "num_items_in_batch": b.mask.sum(),
    }
    loss = GRPOTrainer._compute_loss(trainer, None, inputs)
    loss.backward()
    return loss.detach(), logprobs.grad, trainer._metrics["train"]


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "bnpo", "dr_grpo"])
@pytest.mark.parametrize("level", RATIOS)
@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize(("clip_low", "clip_high"), [(0.2, 0.2), (0.1, 0.28)])
def test_value_and_gradient_are_those_of_trl(loss_type, level, beta, clip_low, clip_high):
    """grpo = sequence, dapo = token, dr_grpo = constant; bnpo is token where the batch is one micro-batch."""
    normalizer = {"grpo": "sequence", "dapo": "token", "bnpo": "token", "dr_grpo": "constant"}[loss_type]
    for seed in range(10):
        b = batch(seed)
        loss, grad, metrics = trl_loss(
            b, loss_type, level=level, clip_low=clip_low, clip_high=clip_high, beta=beta, max_tokens=10
        )
        ours, our_grad = value_and_gradient(
            b, normalizer=normalizer, ratio=level, clip_low=clip_low, clip_high=clip_high, beta=beta
        )
        torch.testing.assert_close(ours, loss, atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(our_grad, grad, atol=1e-12, rtol=1e-12)
        share = clip_fraction(
            b.logprobs, b.old, b.advantages, b.mask, clip_low=clip_low, clip_high=clip_high, ratio=level
        )
        if level == "token":  # TRL's sequence level counts completions, ours the tokens of clipped completions
            assert share.item() == pytest.approx(metrics["clip_ratio/region_mean"][0])


# Properties.

seeds = st.integers(0, 10_000)
options = st.fixed_dictionaries(
    {
        "normalizer": st.sampled_from(NORMALIZERS),
        "ratio": st.sampled_from(RATIOS),
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
def test_what_stands_in_masked_places_does_not_matter(junk, seed, options):
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


@given(seeds)
def test_the_gradient_is_the_slope_of_the_loss(seed):
    b = batch(seed)
    options = {"normalizer": "sequence", "ratio": "sequence", "beta": 0.1, "clip_low": 10.0, "clip_high": 10.0}
    ref = b.ref

    def loss(logprobs):
        return grpo_loss(logprobs, b.old, b.advantages, b.mask, counts_of(b.mask), ref_logprobs=ref, **options)

    assert torch.autograd.gradcheck(loss, b.logprobs.clone().requires_grad_())


def test_a_kl_term_without_reference_is_a_mistake_of_ours():
    with pytest.raises(AssertionError, match="beta > 0 needs ref_logprobs"):
        grpo_loss(TWO.logprobs, TWO.old, TWO.advantages, TWO.mask, counts_of(TWO.mask), beta=0.1)


def test_an_aggregate_of_nothing_is_zero():
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    for normalizer in NORMALIZERS:
        assert aggregate(torch.full((1, 3), math.nan), nothing, normalizer, StepCounts(0, 1, 5)) == 0

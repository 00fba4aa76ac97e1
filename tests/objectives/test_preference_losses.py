"""Preference losses: worked numbers with the gradient, TRL's losses as oracles, the papers' limits, properties."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import logsigmoid

from helpers import trl_oracle
from ocr_rl.objectives.preference_losses import (
    dpo_loss,
    implicit_rewards,
    kto_loss,
    kto_reference,
    log_odds,
    log_ratio_margin,
    orpo_loss,
    reward_accuracy,
    reward_margin,
    reward_model_loss,
    sequence_logprobs,
)

KINDS = ("sigmoid", "robust", "hinge", "ipo")
LOG3 = math.log(3)


def pairs(seed, count=4, width=6):
    """Token log probabilities of chosen (the first half) and rejected completions, and sums of a reference; float64."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, width + 1, (2 * count,), generator=generator)
    lengths[0] = width
    mask = torch.arange(width) < lengths[:, None]
    logprobs = -torch.randn(2 * count, width, generator=generator, dtype=torch.float64).abs()
    reference = (logprobs * mask).sum(1) + 2 * torch.randn(2 * count, generator=generator, dtype=torch.float64)
    return SimpleNamespace(logprobs=logprobs, mask=mask, reference=reference)


def value_and_gradient(loss, *inputs):
    """The sum of a loss per pair, and its gradients by the inputs."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    value = loss(*inputs).sum()
    return value.detach(), torch.autograd.grad(value, inputs)


def slope_at(loss, x):
    """A loss of one number, and its derivative."""
    value, (slope,) = value_and_gradient(loss, torch.tensor([x], dtype=torch.float64))
    return value.item(), slope.item()


# Worked numbers.


def test_a_completion_is_as_likely_as_its_tokens_together_or_on_average():
    """Tokens -1, -2, -3 and -4 with two pads: -6 and -4, means -2 and -4; 0 without a token."""
    logprobs = torch.tensor([[-1.0, -2, -3], [-4, math.nan, -math.inf], [math.nan, math.nan, math.nan]])
    mask = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    assert sequence_logprobs(logprobs, mask).tolist() == [-6, -4, 0]
    assert sequence_logprobs(logprobs, mask, average=True).tolist() == [-2, -4, 0]


def test_the_margin_is_the_difference_of_the_log_ratios():
    """(-1 - -3) - (-5 - -4) = 3."""
    assert log_ratio_margin(*torch.tensor([[-1.0], [-5.0], [-3.0], [-4.0]])).tolist() == [3]


@pytest.mark.parametrize(
    ("kind", "margin", "smoothing", "loss", "slope"),
    [
        # beta = 1/2; sigma(log 3) = 3/4, so at h = 2 log 3 -log sigma(beta h) = log 4/3, -log sigma(-beta h) = log 4
        ("sigmoid", 0.0, 0.0, math.log(2), -0.5 * 0.5),
        ("sigmoid", 2 * LOG3, 0.0, math.log(4 / 3), -0.5 * 0.25),
        ("sigmoid", -2 * LOG3, 0.0, math.log(4), -0.5 * 0.75),
        ("sigmoid", 2 * LOG3, 0.1, 0.9 * math.log(4 / 3) + 0.1 * math.log(4), 0.5 * (-0.9 * 0.25 + 0.1 * 0.75)),
        ("robust", 2 * LOG3, 0.1, (0.9 * math.log(4 / 3) - 0.1 * math.log(4)) / 0.8, 0.5 * (-0.225 - 0.075) / 0.8),
        ("hinge", 0.0, 0.0, 1.0, -0.5),
        ("hinge", 1.5, 0.0, 0.25, -0.5),
        ("hinge", 3.0, 0.0, 0.0, 0.0),
        ("ipo", 1.0, 0.0, 0.0, 0.0),  # 1 / (2 beta) = 1
        ("ipo", 0.0, 0.0, 1.0, -2.0),
        ("ipo", 4.0, 0.0, 9.0, 6.0),  # a margin may be too large
    ],
)
def test_the_loss_of_a_margin(kind, margin, smoothing, loss, slope):
    found = slope_at(lambda h: dpo_loss(h, beta=0.5, kind=kind, label_smoothing=smoothing), margin)
    assert found == pytest.approx((loss, slope))


@pytest.mark.parametrize(
    ("log_ratio", "desirable", "loss", "slope"),
    [
        # beta = 1/2, z = 1, weights 2 and 3; sigma(log 3) = 3/4, derivative of sigma there 3/16
        (1.0, True, 2 * 0.5, -2 * 0.5 * 0.25),
        (1.0, False, 3 * 0.5, 3 * 0.5 * 0.25),
        (1 + 2 * LOG3, True, 2 * 0.25, -2 * 0.5 * 3 / 16),
        (1 + 2 * LOG3, False, 3 * 0.75, 3 * 0.5 * 3 / 16),
    ],
)
def test_the_kto_loss_of_a_desirable_and_an_undesirable_completion(log_ratio, desirable, loss, slope):
    options = {"beta": 0.5, "desirable_weight": 2.0, "undesirable_weight": 3.0}
    found = slope_at(lambda r: kto_loss(r, torch.tensor([desirable]), torch.tensor(1.0), **options), log_ratio)
    assert found == pytest.approx((loss, slope))


def test_the_kto_reference_is_the_mean_log_ratio_of_mismatched_pairs_and_never_negative():
    """(1, 3): 2. (-1, -3): 0 instead of -2. Of nothing 0. Without gradient."""
    assert kto_reference(torch.tensor([1.0, 3.0])).item() == 2
    assert kto_reference(torch.tensor([-1.0, -3.0])).item() == 0
    assert kto_reference(torch.tensor([])).item() == 0
    assert not kto_reference(torch.tensor([1.0], requires_grad=True)).requires_grad


def test_the_orpo_loss_of_a_pair():
    """P(y_w) = 3/4, P(y_l) = 1/2: odds 3 and 1, sigma(log 3) = 3/4, so -log 3/4 - 0.2 log 3/4.

    d / d log P(y_w): -1 - 0.2 (1 - 3/4) / (1 - P) = -1 - 0.2; by log P(y_l): 0.2 (1 - 3/4) / (1 - 1/2) = 0.1.
    """
    chosen, rejected = torch.tensor([[3 / 4], [1 / 2]], dtype=torch.float64).log()
    loss, gradients = value_and_gradient(lambda w, r: orpo_loss(w, r, beta=0.2), chosen, rejected)
    assert loss.item() == pytest.approx(-1.2 * math.log(3 / 4))
    assert [g.item() for g in gradients] == pytest.approx([-1.2, 0.1])


def test_log_odds_are_precise_near_both_ends():
    """log(P / (1 - P)): 0 at 1/2, log 3 at 3/4; about log P for a small P; -log(-log P) for one near 1."""
    logprobs = torch.tensor([0.5, 0.75], dtype=torch.float64).log()
    torch.testing.assert_close(log_odds(logprobs), torch.tensor([0.0, LOG3], dtype=torch.float64))
    ends = torch.tensor([-50.0, -1e-5])
    torch.testing.assert_close(log_odds(ends), torch.tensor([-50.0, -math.log(1e-5)]), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_slope_of_the_log_odds_is_finite_from_end_to_end(dtype):
    """1 / (1 - P) by log P: 1 far from certainty, 2 at P = 1/2, and 0 by definition at P = 1."""
    logprobs = torch.tensor([-1e4, math.log(1 / 2), -torch.finfo(dtype).eps, 0.0], dtype=dtype)
    _, (slopes,) = value_and_gradient(log_odds, logprobs)
    torch.testing.assert_close(slopes[:2], torch.tensor([1.0, 2.0], dtype=dtype))
    assert 1e6 < slopes[2] < math.inf
    assert slopes[3] == 0


def test_the_loss_of_a_reward_model():
    """R_w - R_l - m = log 3: -log 3/4, and 0.1 (R_w + R_l)^2 = 0.1 * 4. Slopes -1/4 + 0.1 * 2 * 2 and 1/4 + 0.4."""
    chosen, rejected = torch.tensor([1 + LOG3], dtype=torch.float64), torch.tensor([1 - LOG3], dtype=torch.float64)
    margin = torch.tensor([LOG3], dtype=torch.float64)
    loss, (by_chosen, by_rejected) = value_and_gradient(
        lambda w, r: reward_model_loss(w, r, margin=margin, centring=0.1), chosen, rejected
    )
    assert loss.item() == pytest.approx(math.log(4 / 3) + 0.4)
    assert (by_chosen.item(), by_rejected.item()) == pytest.approx((-0.25 + 0.4, 0.25 + 0.4))


def test_rewards_margins_and_accuracy_of_three_pairs():
    """beta = 1/2: rewards (1, 0, 2) against (0, 0, 3): mean margin 0, one of three right; the tie is not."""
    chosen = implicit_rewards(torch.tensor([-1.0, -2.0, 0.0]), torch.tensor([-3.0, -2.0, -4.0]), beta=0.5)
    assert chosen.tolist() == [1, 0, 2]
    rejected = torch.tensor([0.0, 0.0, 3.0])
    assert reward_margin(chosen, rejected).item() == 0
    assert reward_accuracy(chosen, rejected).item() == pytest.approx(1 / 3)
    nothing = torch.tensor([])
    assert reward_margin(nothing, nothing) == reward_accuracy(nothing, nothing) == 0


def test_label_smoothing_where_there_is_none_or_out_of_range_is_an_internal_error():
    with pytest.raises(AssertionError, match="hinge has no label smoothing"):
        dpo_loss(torch.zeros(1), kind="hinge", label_smoothing=0.1)
    with pytest.raises(AssertionError, match=r"label smoothing is 0.5; it must be in \[0, 1/2\)"):
        dpo_loss(torch.zeros(1), kind="robust", label_smoothing=0.5)


# TRL 1.16 as an oracle.


def of_pairs(p, logprobs, *, average=False):
    """The margin h of the pairs."""
    chosen, rejected = sequence_logprobs(logprobs, p.mask, average=average).chunk(2)
    reference = p.reference / p.mask.sum(1).clamp(min=1) if average else p.reference
    return log_ratio_margin(chosen, rejected, *reference.chunk(2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beta", [0.1, 0.7])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_the_losses_of_pairs_are_those_of_trl(parity, kind, beta, label_smoothing):
    """TRL's `sigmoid` leaves the label smoothing out, so it is compared without; its `ipo` averages over tokens."""
    smoothing = label_smoothing if kind == "robust" else 0.0
    for seed in range(10):
        p = pairs(seed)
        logprobs = p.logprobs.clone().requires_grad_()
        loss, metrics = trl_oracle.dpo_loss(
            *logprobs.chunk(2), *p.reference.chunk(2), p.mask, kind, beta=beta, label_smoothing=label_smoothing
        )
        (gradient,) = torch.autograd.grad(loss, logprobs)

        def ours(logprobs, p=p):
            margin = of_pairs(p, logprobs, average=kind == "ipo")
            return dpo_loss(margin, beta=beta, kind=kind, label_smoothing=smoothing) / len(margin)

        our_loss, (our_gradient,) = value_and_gradient(ours, p.logprobs)
        name = "IPO, means of tokens" if kind == "ipo" else f"DPO, {kind}"
        parity(name, "TRL 1.16", (our_loss, our_gradient), (loss.detach(), gradient), atol=1e-12)
        rewards = implicit_rewards(sequence_logprobs(p.logprobs, p.mask), p.reference, beta=beta).chunk(2)
        assert reward_margin(*rewards).item() == pytest.approx(metrics["rewards/margins"][0])
        assert reward_accuracy(*rewards).item() == pytest.approx(metrics["rewards/accuracies"][0])


def test_ipo_of_sums_is_that_of_trl_where_completions_have_one_token(parity):
    for seed in range(10):
        p = pairs(seed, width=1)
        logprobs = p.logprobs.clone().requires_grad_()
        loss, _ = trl_oracle.dpo_loss(*logprobs.chunk(2), *p.reference.chunk(2), p.mask, "ipo", beta=0.3)
        (gradient,) = torch.autograd.grad(loss, logprobs)
        ours = value_and_gradient(lambda x, p=p: dpo_loss(of_pairs(p, x), beta=0.3, kind="ipo") / 4, p.logprobs)
        parity("IPO, sums of tokens", "TRL 1.16, one token each", ours, (loss.detach(), [gradient]), atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "smoothing", "name", "losses", "slopes"),
    [
        ("ipo", 0.0, "IPO, sums of tokens", [1.0, 6.25, 1.0], [2.0, -5.0, 2.0]),
        (
            "sigmoid",
            0.2,
            "DPO, sigmoid with label smoothing",
            [0.5132616875182229, 0.9868710061149, 0.5132616875182229],
            [-0.03447071068499756, -0.2395893495876965, -0.03447071068499756],
        ),
    ],
)
def test_losses_of_sums_have_the_numbers_of_trl(parity, kind, smoothing, name, losses, slopes):
    """TRL 0.11.4's DPOTrainer.dpo_loss, beta 0.5: margins 2, -1.5 and 2."""
    sums = torch.tensor([[-1, -2.5, -0.5], [-3, -2, -4], [-2, -2, -2], [-2, -3, -3.5]], dtype=torch.float64)

    def loss(chosen):
        return dpo_loss(log_ratio_margin(chosen, *sums[1:]), beta=0.5, kind=kind, label_smoothing=smoothing)

    _, (gradient,) = value_and_gradient(loss, sums[0])
    theirs = torch.tensor([losses, slopes], dtype=torch.float64)
    parity(name, "TRL 0.11.4, numbers", torch.stack([loss(sums[0]), gradient]), theirs, atol=1e-12)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 1.33)])
@pytest.mark.parametrize("shift", [-3.0, 3.0])
def test_the_kto_loss_is_that_of_trl(parity, weights, shift):
    """`shift` makes the reference point 0, clamped, or about 3."""
    for seed in range(10):
        p = pairs(seed)
        generator = torch.Generator().manual_seed(seed)
        desirable = torch.rand(8, generator=generator) < 0.5
        mismatched, ref_mismatched = torch.randn(2, 8, generator=generator, dtype=torch.float64)
        mismatched = mismatched + shift
        logprobs = p.logprobs.clone().requires_grad_()
        loss = trl_oracle.kto_loss(
            logprobs, p.reference, desirable, mismatched, ref_mismatched, p.mask, beta=0.3, weights=weights
        )
        (gradient,) = torch.autograd.grad(loss, logprobs)
        reference = kto_reference(mismatched - ref_mismatched)
        assert (reference > 0) == (shift > 0)

        def ours(logprobs, p=p, desirable=desirable, reference=reference):
            ratios = sequence_logprobs(logprobs, p.mask) - p.reference
            options = {"beta": 0.3, "desirable_weight": weights[0], "undesirable_weight": weights[1]}
            return kto_loss(ratios, desirable, reference, **options) / len(ratios)

        our_loss, (our_gradient,) = value_and_gradient(ours, p.logprobs)
        parity("KTO", "TRL 1.16", (our_loss, our_gradient), (loss.detach(), gradient), atol=1e-12)


@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_the_odds_of_orpo_are_those_of_trl(parity, beta):
    """TRL computes in float32, and its likelihood term is the mean over the batch's tokens, prompts included."""
    for seed in range(10):
        p = pairs(seed)
        means = sequence_logprobs(p.logprobs, p.mask, average=True).float()
        chosen, rejected = means.chunk(2)
        theirs = value_and_gradient(lambda w, r: -w - trl_oracle.orpo_log_odds_loss(w, r, beta=beta), chosen, rejected)
        ours = value_and_gradient(lambda w, r: orpo_loss(w, r, beta=beta), chosen, rejected)
        parity("ORPO", "TRL 1.16, odds in float32", ours, theirs, atol=1e-5)


@pytest.mark.parametrize("with_margin", [True, False])
@pytest.mark.parametrize("centring", [None, 0.01])
def test_the_loss_of_a_reward_model_is_that_of_trl(parity, with_margin, centring):
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        chosen, rejected, margin = torch.randn(3, 5, generator=generator, dtype=torch.float64)
        margin = margin.abs() if with_margin else None
        w, r = chosen.clone().requires_grad_(), rejected.clone().requires_grad_()
        loss, metrics = trl_oracle.reward_model_loss(w, r, margin=margin, centring=centring)
        gradients = torch.autograd.grad(loss, [w, r])
        options = {"centring": centring or 0.0} | ({"margin": margin} if with_margin else {})
        ours = value_and_gradient(lambda w, r, o=options: reward_model_loss(w, r, **o) / 5, chosen, rejected)
        parity("reward model", "TRL 1.16", ours, (loss.detach(), gradients), atol=1e-12)
        assert reward_accuracy(chosen, rejected).item() == pytest.approx(metrics["accuracy"][0])
        assert reward_margin(chosen, rejected).item() == pytest.approx(metrics["margin"][0])


# The losses as the papers describe them.

margins, betas = st.floats(-20, 20), st.floats(0.01, 2)
halves = st.floats(0.01, 0.49)


@given(margins, betas)
def test_the_gradient_of_dpo_is_weighted_by_how_wrong_the_implicit_reward_is(margin, beta):
    """DPO, below eq. 7: -beta sigma(-beta h) by h."""
    _, slope = slope_at(lambda h: dpo_loss(h, beta=beta), margin)
    assert slope == pytest.approx(-beta / (1 + math.exp(beta * margin)))


@given(betas, halves)
def test_conservative_dpo_has_its_minimum_where_the_preference_is_as_sure_as_the_labels(beta, smoothing):
    """sigma(beta h) = 1 - eps, where DPO without smoothing wants h without bound."""
    best = math.log((1 - smoothing) / smoothing) / beta
    _, slope = slope_at(lambda h: dpo_loss(h, beta=beta, label_smoothing=smoothing), best)
    assert slope == pytest.approx(0, abs=1e-9)
    for step, sign in ((-0.1 / beta, -1), (0.1 / beta, 1)):
        _, slope = slope_at(lambda h: dpo_loss(h, beta=beta, label_smoothing=smoothing), best + step)
        assert slope * sign > 0


@given(margins, betas, halves)
def test_smoothing_smooths(margin, beta, smoothing):
    """With eps of the labels turned around, the mean loss of DPO is the smoothed loss."""
    h = torch.tensor([margin], dtype=torch.float64)
    smoothed = dpo_loss(h, beta=beta, label_smoothing=smoothing)
    mean = (1 - smoothing) * dpo_loss(h, beta=beta) + smoothing * dpo_loss(-h, beta=beta)
    torch.testing.assert_close(smoothed, mean)


@given(margins, betas, halves)
def test_the_robust_loss_is_unbiased_under_wrong_labels(margin, beta, smoothing):
    """With eps of the labels turned around, the mean robust loss is DPO's loss of the right ones."""
    h = torch.tensor([margin], dtype=torch.float64)
    robust, turned = (dpo_loss(x, beta=beta, kind="robust", label_smoothing=smoothing) for x in (h, -h))
    mean = (1 - smoothing) * robust + smoothing * turned
    torch.testing.assert_close(mean, dpo_loss(h, beta=beta), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("kind", ["sigmoid", "hinge"])
def test_dpo_and_hinge_of_very_large_margins_are_finite(kind):
    loss, (slope,) = value_and_gradient(lambda h: dpo_loss(h, kind=kind), torch.tensor([-1e6, 1e6]))
    assert loss.isfinite()
    torch.testing.assert_close(slope, torch.tensor([-0.1, 0.0]))


@given(st.floats(-20, 20), st.floats(0, 5), betas)
def test_kto_raises_what_is_desirable_and_lowers_what_is_not_and_both_saturate(log_ratio, reference, beta):
    for desirable, sign in ((True, -1), (False, 1)):
        loss, slope = slope_at(
            lambda r, d=desirable: kto_loss(r, torch.tensor([d]), torch.tensor(reference), beta=beta), log_ratio
        )
        assert 0 <= loss <= 1
        assert slope * sign >= 0


def test_a_policy_that_is_its_reference_has_the_losses_of_a_coin():
    """h = 0: log 2; KTO: 1/2 of each; ORPO of equal odds: -log P + beta log 2; accuracy 0, as ties are not right."""
    zero = torch.zeros(2)
    torch.testing.assert_close(dpo_loss(zero), torch.full((2,), math.log(2)))
    torch.testing.assert_close(kto_loss(zero, torch.tensor([True, False]), kto_reference(zero)), torch.full((2,), 0.5))
    torch.testing.assert_close(orpo_loss(zero - 1, zero - 1), torch.full((2,), 1 + 0.1 * math.log(2)))
    assert reward_accuracy(zero, zero) == 0


@given(st.floats(0.01, 0.98), st.floats(0.01, 0.98), betas)
def test_orpo_raises_the_chosen_and_lowers_the_rejected(chosen, rejected, beta):
    """Section 4.3: the odds' part has the gradient beta delta h, delta = 1 / (1 + odds_w / odds_l), h = 1 / (1 - P)."""
    logprobs = torch.tensor([[chosen], [rejected]], dtype=torch.float64).log()
    _, (by_chosen, by_rejected) = value_and_gradient(lambda w, r: orpo_loss(w, r, beta=beta), *logprobs)
    delta = 1 / (1 + chosen / (1 - chosen) / (rejected / (1 - rejected)))
    assert by_chosen.item() == pytest.approx(-1 - beta * delta / (1 - chosen))
    assert by_rejected.item() == pytest.approx(beta * delta / (1 - rejected))


@given(margins, margins, st.floats(-10, 10))
def test_a_reward_model_learns_differences_only_unless_it_is_centred(chosen, rejected, shift):
    w, r = torch.tensor([[chosen], [rejected]], dtype=torch.float64)
    torch.testing.assert_close(reward_model_loss(w + shift, r + shift), reward_model_loss(w, r))
    torch.testing.assert_close(reward_model_loss(w, r), -logsigmoid(w - r))
    centred = reward_model_loss(w + shift, r + shift, centring=1.0) - reward_model_loss(w, r)
    torch.testing.assert_close(centred, (w + r + 2 * shift).square())


# Properties.

seeds = st.integers(0, 10_000)
fewer_for_each_loss = settings(max_examples=25)
LOSSES = {
    **{
        kind: lambda p, logprobs, kind=kind: dpo_loss(of_pairs(p, logprobs), kind=kind, beta=0.3)
        for kind in ("sigmoid", "robust", "hinge", "ipo")
    },
    "conservative": lambda p, logprobs: dpo_loss(of_pairs(p, logprobs), label_smoothing=0.1),
    "averaged ipo": lambda p, logprobs: dpo_loss(of_pairs(p, logprobs, average=True), kind="ipo"),
    "kto": lambda p, logprobs: kto_loss(
        sequence_logprobs(logprobs, p.mask) - p.reference, torch.arange(len(p.mask)) % 2 == 0, torch.tensor(0.5)
    ),
    "orpo": lambda p, logprobs: orpo_loss(*sequence_logprobs(logprobs, p.mask, average=True).chunk(2)),
}


def of_loss(name, p):
    return value_and_gradient(lambda logprobs: LOSSES[name](p, logprobs), p.logprobs)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("junk", [math.nan, -math.inf])
@fewer_for_each_loss
@given(seed=seeds, extra=st.integers(1, 3))
def test_neither_pads_nor_their_values_matter(name, junk, seed, extra):
    p = pairs(seed)
    loss, (gradient,) = of_loss(name, p)
    wide = SimpleNamespace(
        logprobs=torch.nn.functional.pad(p.logprobs.masked_fill(~p.mask, junk), (0, extra), value=junk),
        mask=torch.nn.functional.pad(p.mask, (0, extra)),
        reference=p.reference,
    )
    wide_loss, (wide_gradient,) = of_loss(name, wide)
    torch.testing.assert_close(wide_loss, loss)
    torch.testing.assert_close(wide_gradient, torch.nn.functional.pad(gradient, (0, extra)))


@pytest.mark.parametrize("name", LOSSES)
@fewer_for_each_loss
@given(seed=seeds, order=st.permutations(range(4)), cut=st.integers(1, 3))
def test_a_pair_does_not_see_the_others(name, seed, order, cut):
    """So micro-batches in any order add up, the reference point of KTO being given."""
    p = pairs(seed)
    loss, (gradient,) = of_loss(name, p)
    total, gradients = 0.0, torch.zeros_like(gradient)
    for part in (order[:cut], order[cut:]):
        # for KTO, completions 2i and 2i + 1 stay together, because their positions determine their kind
        couples = [[row for i in part for row in (2 * i, 2 * i + 1)], [*part, *(4 + i for i in part)]]
        rows = couples[name != "kto"]
        own = SimpleNamespace(**{field: tensor[rows] for field, tensor in vars(p).items()})
        own_loss, (own_gradient,) = of_loss(name, own)
        total += own_loss
        gradients[rows] = own_gradient
    torch.testing.assert_close(total, loss)
    torch.testing.assert_close(gradients, gradient)


@pytest.mark.parametrize("name", LOSSES)
def test_completions_without_a_token_are_finite_and_without_gradient(name):
    p = pairs(0)
    p.mask = torch.zeros_like(p.mask)
    p.reference = torch.zeros(8, dtype=torch.float64)
    loss, (gradient,) = of_loss(name, p)
    assert loss.isfinite()
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("name", LOSSES)
@fewer_for_each_loss
@given(seed=seeds)
def test_the_gradient_is_the_slope_of_the_loss(name, seed):
    p = pairs(seed, count=2, width=3)
    p.logprobs = p.logprobs - 0.1  # the odds of a certain completion have no slope
    logprobs = p.logprobs.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](p, x).sum(), logprobs)

"""The critic's loss: worked numbers with the gradient, TRL's and verl's numbers, and properties."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.token_batches import rows_of, wider, with_junk
from ocr_rl.objectives.value_losses import explained_variance, value_clip_fraction, value_loss


def batch(seed, rows=4, width=6):
    """Values that moved less and more than the clip range; float64; ragged; one row untrained."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(3, rows, width, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, width + 1, (rows,), generator=generator)
    lengths[0], lengths[-1] = width, 0
    return SimpleNamespace(
        values=draw[0],
        old=draw[0] + 0.3 * draw[1],
        returns=draw[2],
        mask=torch.arange(width) < lengths[:, None],
    )


def value_and_gradient(b, tokens=None, clip=0.2):
    values = b.values.clone().requires_grad_()
    loss = value_loss(values, b.old, b.returns, b.mask, int(b.mask.sum()) if tokens is None else tokens, clip=clip)
    loss.backward()
    return loss.detach(), values.grad


# Worked numbers.


@pytest.mark.parametrize(
    ("value", "returned", "loss", "slope"),
    [
        (0.1, 1.0, 0.81, -0.9),  # within the range: the plain error
        (0.5, 1.0, 0.64, 0.0),  # nearer to the return than the range allows: no more
        (-0.5, -1.0, 0.64, 0.0),
        (-0.5, 1.0, 2.25, -1.5),  # moved the wrong way: the full gradient
        (0.5, 0.3, 0.04, 0.2),  # beyond the range and past the return: pulled back, as its own error is the larger
        (0.5, 0.4, 0.04, 0.0),  # beyond it, past the return, and still nearer than the range allows
        (0.2, 0.2, 0.0, 0.0),
    ],
)
def test_the_clip_only_stops_what_has_come_nearer_than_it_allows(value, returned, loss, slope):
    """1/2 max((V - R)^2, (clip(V, -0.2, 0.2) - R)^2) at V_old = 0, and its derivative by V."""
    b = SimpleNamespace(
        values=torch.tensor([[value]], dtype=torch.float64),
        old=torch.zeros(1, 1, dtype=torch.float64),
        returns=torch.tensor([[returned]], dtype=torch.float64),
        mask=torch.ones(1, 1, dtype=torch.bool),
    )
    found, grad = value_and_gradient(b)
    assert found.item() == pytest.approx(loss / 2)
    assert grad.item() == pytest.approx(slope)


def test_without_clip_it_is_half_the_mean_squared_error():
    """Errors 1, 2 | 3: (1 + 4 + 9) / 6, slopes error / 3. The pad's error of 100 does not count."""
    b = SimpleNamespace(
        values=torch.tensor([[1.0, 2.0], [3.0, 100.0]]),
        old=torch.zeros(2, 2),
        returns=torch.zeros(2, 2),
        mask=torch.tensor([[True, True], [True, False]]),
    )
    loss, grad = value_and_gradient(b, clip=None)
    assert loss.item() == pytest.approx(14 / 6)
    torch.testing.assert_close(grad, torch.tensor([[1 / 3, 2 / 3], [1.0, 0.0]]))


def test_value_and_gradient_are_those_of_trl_and_verl(parity):
    """Numbers of TRL 0.11.4's and verl 0.5.0's value losses on one batch; clip 0.2."""
    b = SimpleNamespace(
        values=torch.tensor([[0.75, 0.375, 0.8125], [-0.5, 0.125, math.nan]], dtype=torch.float64),
        old=torch.tensor([[0.25, 0.5, 0.75], [-0.25, 0.0, math.nan]], dtype=torch.float64),
        returns=torch.tensor([[0.67576, 0.883, 0.9], [-0.296, -0.55, math.nan]], dtype=torch.float64),
        mask=torch.tensor([[True, True, True], [True, True, False]]),
    )
    gradient = torch.tensor([[0.0, -0.1016, -0.0175], [-0.0408, 0.135, 0.0]], dtype=torch.float64)
    theirs = (torch.tensor(0.08139288276, dtype=torch.float64), gradient)
    for oracle in ("TRL 0.11.4, numbers", "verl 0.5.0, numbers"):
        parity("PPO, value loss", oracle, value_and_gradient(b), theirs, atol=1e-8)
    assert value_clip_fraction(b.values, b.old, b.returns, b.mask, clip=0.2).item() == pytest.approx(1 / 5)


def test_the_explained_variance_of_a_good_a_useless_and_a_bad_critic():
    """Returns 0, 1, 2 of variance 2/3. V = R + 7: 1. V constant: 0. V = -R, errors 0, 2, 4: 1 - (8/3) / (2/3)."""
    returns, mask = torch.tensor([[0.0, 1.0, 2.0, 50.0]]), torch.tensor([[True, True, True, False]])
    for values, share in ((returns + 7, 1), (torch.zeros(1, 4), 0), (-returns, -3)):
        assert explained_variance(values, returns, mask).item() == pytest.approx(share)


def test_where_returns_do_not_vary_no_variance_is_explained():
    returns, mask = torch.full((1, 3), 0.5), torch.ones(1, 3, dtype=torch.bool)
    assert explained_variance(torch.randn(1, 3), returns, mask).item() == 0
    assert explained_variance(torch.randn(1, 3), returns, torch.zeros_like(mask)).item() == 0


# Properties.

seeds, clips = st.integers(0, 10_000), st.sampled_from([None, 0.2, 1.0])


@pytest.mark.parametrize("junk", [math.nan, math.inf])
@given(seed=seeds, clip=clips, extra=st.integers(1, 3))
def test_neither_pads_nor_their_values_matter(junk, seed, clip, extra):
    b = batch(seed)
    loss, grad = value_and_gradient(b, clip=clip)
    other = wider(with_junk(b, junk), extra, junk)
    wide_loss, wide_grad = value_and_gradient(other, clip=clip)
    torch.testing.assert_close(wide_loss, loss)
    torch.testing.assert_close(wide_grad[:, :6], grad)
    assert not wide_grad[:, 6:].any()
    for metric in (explained_variance, lambda v, r, m: value_clip_fraction(v, b.old, r, m, clip=0.2)):
        junked = with_junk(b, junk)
        torch.testing.assert_close(metric(junked.values, junked.returns, b.mask), metric(b.values, b.returns, b.mask))


@given(seeds, clips, st.permutations(range(4)), st.integers(1, 3))
def test_micro_batches_in_any_order_add_up_to_the_batch(seed, clip, order, cut):
    b = batch(seed)
    tokens = int(b.mask.sum())
    loss, grad = value_and_gradient(b, tokens, clip)
    shuffled = rows_of(b, order)
    parts = [value_and_gradient(rows_of(shuffled, rows), tokens, clip) for rows in (slice(cut), slice(cut, None))]
    torch.testing.assert_close(sum(part for part, _ in parts), loss)
    torch.testing.assert_close(torch.cat([part for _, part in parts]), grad[order])


@given(seeds)
def test_the_clip_fraction_agrees_with_the_gradient(seed):
    b = batch(seed)
    _, grad = value_and_gradient(b)
    share = value_clip_fraction(b.values, b.old, b.returns, b.mask, clip=0.2)
    assert share.item() == pytest.approx((grad[b.mask] == 0).double().mean().item())


@given(seeds, clips)
def test_a_clipped_loss_is_never_less_than_the_plain_one(seed, clip):
    b = batch(seed)
    assert value_and_gradient(b, clip=clip)[0] >= value_and_gradient(b, clip=None)[0] - 1e-12


@given(seeds, clips)
def test_a_critic_that_is_right_has_loss_zero_and_no_gradient(seed, clip):
    b = batch(seed)
    b.values = b.old = b.returns
    loss, grad = value_and_gradient(b, clip=clip)
    assert loss == 0
    assert not grad.any()


@given(clips)
def test_a_batch_without_a_trained_token_has_loss_zero_and_no_gradient(clip):
    b = batch(0)
    b.mask = torch.zeros_like(b.mask)
    loss, grad = value_and_gradient(b, clip=clip)
    assert loss == 0
    assert torch.equal(grad, torch.zeros_like(grad))
    assert value_clip_fraction(b.values, b.old, b.returns, b.mask, clip=0.2) == 0


@given(seeds)
def test_the_gradient_is_the_slope_of_the_loss(seed):
    b = batch(seed)
    tokens = int(b.mask.sum())
    assert torch.autograd.gradcheck(
        lambda values: value_loss(values, b.old, b.returns, b.mask, tokens), b.values.clone().requires_grad_()
    )

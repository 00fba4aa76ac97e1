"""Advantages by token from the edits of each, by worked numbers and properties."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ocr_rl.objectives.alignment import alignment_advantages

DELTAS = [torch.tensor([[0.0, -1.0, 0.0], [-3.0, 0.0, 0.0]]), torch.tensor([[0.0, -2.0]])]
MASKS = [torch.tensor([[True, True, True], [True, True, False]]), torch.tensor([[True, True]])]
POSITIONS = [torch.tensor([[0, 1, 2], [0, 2, 0]]), torch.tensor([[0, 1]])]


def advantages(**settings):
    return alignment_advantages(DELTAS, MASKS, POSITIONS, eps=0.0, **settings)


def test_the_baseline_is_the_mean_of_the_batch():
    """Tokens 0, -1, 0, -3, 0, 0, -2: mean -6/7."""
    scale = torch.tensor([0.0, -1, 0, -3, 0, 0, -2]).std()
    first, second = advantages()
    assert (first * scale).tolist() == [
        pytest.approx([6 / 7, -1 / 7, 6 / 7], abs=1e-6),
        pytest.approx([-15 / 7, 6 / 7, 0], abs=1e-6),
    ]
    assert (second * scale).tolist() == [pytest.approx([6 / 7, -8 / 7], abs=1e-6)]


def test_the_baseline_of_a_page():
    scale = torch.tensor([0.0, -1, 0, -3, 0, 0, -2]).std()
    first, second = advantages(baseline="group")
    assert (first * scale).tolist()[1] == pytest.approx([-3 + 4 / 5, 4 / 5, 0], abs=1e-6)
    assert (second * scale).tolist() == [pytest.approx([1, -1], abs=1e-6)]


def test_the_baseline_of_a_position():
    """Position 0: 0 and -3; position 2: 0 and 0; a token alone at its position has no one to be compared with."""
    scale = torch.tensor([0.0, -1, 0, -3, 0, 0, -2]).std()
    first, second = advantages(baseline="position")
    assert (first * scale).tolist() == [pytest.approx([1.5, 0, 0], abs=1e-6), pytest.approx([-1.5, 0, 0], abs=1e-6)]
    assert second.tolist() == [[0, 0]]


def test_lambda_adds_what_comes_after():
    """c = delta_t + lambda c_(t+1)."""
    scale = torch.tensor([-0.5, -1, 0, -3, 0, -1, -2]).std()
    first, second = advantages(lam=0.5)
    mean = -7.5 / 7
    assert (first * scale)[0].tolist() == pytest.approx([-0.5 - mean, -1 - mean, -mean], abs=1e-6)
    assert (second * scale)[0].tolist() == pytest.approx([-1 - mean, -2 - mean], abs=1e-6)


def test_a_token_pays_for_at_most_the_cap():
    capped = alignment_advantages([DELTAS[0].clamp(min=-2), DELTAS[1]], MASKS, POSITIONS)
    for one, other in zip(alignment_advantages(DELTAS, MASKS, POSITIONS, cap=2), capped, strict=True):
        assert torch.equal(one, other)


def test_equal_credit_is_no_advantage():
    zero = [torch.zeros(2, 3)]
    assert not alignment_advantages(zero, [torch.ones(2, 3, dtype=torch.bool)], [torch.zeros(2, 3)])[0].any()


@given(st.integers(0, 3), st.sampled_from(["batch", "group", "position"]), st.floats(0, 1))
def test_padding_and_the_order_of_pages_and_completions_change_nothing(pad, baseline, lam):
    def padded(rows, value):
        return [torch.nn.functional.pad(row, (0, pad), value=value) for row in rows]

    settings = {"lam": lam, "baseline": baseline}
    plain = alignment_advantages(DELTAS, MASKS, POSITIONS, **settings)
    wide = alignment_advantages(padded(DELTAS, -9), padded(MASKS, False), padded(POSITIONS, 0), **settings)
    for one, other in zip(plain, wide, strict=True):
        assert torch.allclose(other[:, : one.shape[1]], one, atol=1e-6)
        assert not other[:, one.shape[1] :].any()
    turned = alignment_advantages(
        *([rows.flip(0) for rows in reversed(pages)] for pages in (DELTAS, MASKS, POSITIONS)), **settings
    )
    for one, other in zip(plain, reversed(turned), strict=True):
        assert torch.allclose(other.flip(0), one, atol=1e-6)

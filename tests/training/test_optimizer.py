"""The optimiser, its learning rate, and its refusal of non-finite gradients."""

import math
from importlib.util import find_spec

import pytest
import torch

from helpers.families import build
from helpers.tiny_models import make_page, make_recipe
from ocr_rl.config.schema import TrainConfig
from ocr_rl.errors import TrainingStoppedError
from ocr_rl.models.policy import Policy
from ocr_rl.training.checkpoint import load_checkpoint, save_checkpoint
from ocr_rl.training.optimizer import clipped_step, learning_rate, make_optimizer


def test_gradients_are_scaled_down_to_the_norm_and_the_norm_before_is_reported():
    """g = [3, 4]: norm 5. SGD at rate 0.1 after scaling to norm 1 moves by [-0.06, -0.08]."""
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    optimizer = torch.optim.SGD([weight], lr=99.0)
    assert clipped_step(optimizer, [weight], rate=0.1, max_norm=1.0) == pytest.approx(5.0)
    torch.testing.assert_close(weight.data, torch.tensor([-0.06, -0.08]))
    assert weight.grad is None


def test_a_norm_of_0_clips_nothing():
    """g = [3, 4]: SGD at rate 0.1 moves by [-0.3, -0.4]."""
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    assert clipped_step(torch.optim.SGD([weight], lr=99.0), [weight], rate=0.1, max_norm=0.0) == pytest.approx(5.0)
    torch.testing.assert_close(weight.data, torch.tensor([-0.3, -0.4]))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_stops_training_before_the_weights_change(bad):
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, bad])
    with pytest.raises(
        TrainingStoppedError, match=r"the gradient norm is .*; the weights before this update are kept. Try"
    ):
        clipped_step(torch.optim.SGD([weight], lr=0.1), [weight], rate=0.1, max_norm=1.0)
    assert weight.tolist() == [1, 1]
    assert weight.grad is None


def test_trained_weights_must_be_float32():
    weight = torch.nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
    with pytest.raises(ValueError, match=r"trained weights must be float32, found torch\.bfloat16"):
        make_optimizer([weight], TrainConfig())


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 3 / 4, 2 / 4, 1 / 4]),
        ("cosine", [0.5, 1, 1, (1 + math.sqrt(0.5)) / 2, 1 / 2, (1 - math.sqrt(0.5)) / 2]),
    ],
)
def test_learning_rates_of_six_steps_with_two_of_warm_up(schedule, rates):
    """The rate would reach 0 in the step after the last one, so every step learns."""
    config = TrainConfig(steps=6, warmup_steps=2, learning_rate=1.0, schedule=schedule)
    assert [learning_rate(step, config) for step in range(1, 7)] == pytest.approx(rates)


def test_without_warm_up_the_first_step_has_the_peak_rate():
    assert learning_rate(1, TrainConfig(steps=1, learning_rate=2.0, schedule="cosine")) == 2.0


needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None,
    reason="bitsandbytes is not installed",  # it is in requirements/dev.txt
)


@needs_bitsandbytes
@pytest.mark.parametrize("name", ["adamw_8bit", "paged_adamw_8bit"])
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
def test_adamw_with_state_in_8_bits_moves_weights_as_adamw_does(name):
    """Its state is rounded, so that a step of 0.01 may be off by a fifth; it holds 8 bits for each entry."""
    start, pulls = torch.randn(64, 128), [torch.randn(64, 128) for _ in range(5)]
    moved = {}
    for kind in ("adamw", name):
        weight = torch.nn.Parameter(start.clone())
        optimizer = make_optimizer([weight], TrainConfig(optimizer=kind, learning_rate=0.01))
        for pull in pulls:
            weight.grad = pull.clone()
            clipped_step(optimizer, [weight], rate=0.01, max_norm=0.0)
        moved[kind] = weight.detach() - start
    assert optimizer.state[weight]["state1"].dtype == torch.uint8
    assert (moved[name] - moved["adamw"]).abs().mean() < 0.2 * moved["adamw"].abs().mean()


@needs_bitsandbytes
def test_state_in_8_bits_continues_from_a_checkpoint_bit_for_bit(tmp_path):
    """Weights of fewer than 4,096 entries keep 32 bits; this model has some that are larger."""
    recipe, pages = make_recipe(train_optimizer="adamw_8bit"), [make_page()]

    def started():
        policy = Policy(*build("qwen2_5_vl"))
        return policy, make_optimizer(policy.trainable_parameters(), recipe.train)

    def step(policy, optimizer, seed):
        generator = torch.Generator().manual_seed(seed)
        for parameter in policy.trainable_parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        clipped_step(optimizer, policy.trainable_parameters(), rate=1e-3, max_norm=1.0)

    policy, optimizer = started()
    step(policy, optimizer, 1)
    save_checkpoint(tmp_path / "saved", policy, optimizer, recipe, pages, step=1)
    step(policy, optimizer, 2)
    again, its_optimizer = started()
    load_checkpoint(tmp_path / "saved", again, its_optimizer, pages, step=1)
    step(again, its_optimizer, 2)
    assert any(state["state1"].dtype == torch.uint8 for state in optimizer.state.values())
    for one, other in zip(policy.trainable_parameters(), again.trainable_parameters(), strict=True):
        assert torch.equal(one, other)

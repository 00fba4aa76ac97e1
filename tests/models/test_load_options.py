"""Keys of [model] that libraries take: attention, 4-bit weights."""

from importlib.util import find_spec

import pytest
import torch

from helpers.tiny_models import gradients, make_page, make_policy, weights
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.checkpoints import options
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.policy import Policy

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None,
    reason="bitsandbytes is not installed",  # its CPU build is in requirements/dev.txt
)
ROWS = pad_rows([[9, 10, 11, 3], [12, 3]], 0)


def scored(policy):
    """Log probabilities of two completions, and their gradients."""
    state = policy.read(policy.prompt(make_page()), grad=True)
    logprobs = policy.score(state, *ROWS, 1.0).logprobs
    logprobs.sum().backward()
    state.backward()
    return logprobs.detach(), gradients(policy)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    make_policy("lighton").save(folder)
    return folder


def load(folder, **settings):
    return Policy.load(ModelConfig(path=str(folder), **settings), device="cpu")


def assert_same(found, expected):
    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=1e-5)
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("name", ["eager", "sdpa"])
def test_attention_is_computed_as_the_recipe_says(saved, name):
    policy = load(saved, attn_implementation=name)
    assert policy.base.config.get_text_config()._attn_implementation == name
    assert_same(scored(policy), scored(load(saved)))


@pytest.mark.parametrize("name", ["flash_attention_2", "flashy"])
def test_attention_that_is_not_there_is_an_error_that_says_what_to_write(saved, name):
    with pytest.raises(ValueError, match=rf'model\.attn_implementation is "{name}": .*write "sdpa", or "auto"'):
        load(saved, attn_implementation=name)


@needs_bitsandbytes
def test_an_adapter_is_trained_on_weights_of_4_bits(saved, tmp_path):
    """4 bits are coarse: log probabilities are near the unquantised model's, and not the same."""
    policy, plain = (load(saved, lora_rank=4, quantize=bits) for bits in ("nf4", ""))
    kept = [module for module in policy.base.modules() if type(module).__name__ == "Linear4bit"]
    assert len(kept) > 10
    (found, learned), (expected, _) = scored(policy), scored(plain)
    assert 1e-4 < (found - expected).abs().mean() < 1
    assert any(gradient.any() for gradient in learned.values())
    for parameter in policy.trainable_parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    policy.save(tmp_path / "adapter")
    again = load(tmp_path / "adapter", quantize="nf4")
    torch.testing.assert_close(scored(again)[0], scored(policy)[0], atol=1e-5, rtol=1e-5)
    assert weights(again).keys() == weights(policy).keys()


def test_weights_that_are_trained_are_not_quantised(saved):
    with pytest.raises(ValueError, match=r'model\.quantize is "nf4", but all weights are trained; write "", or'):
        load(saved, quantize="nf4")


def test_what_needs_bitsandbytes_says_so_without_it(saved, monkeypatch):
    monkeypatch.setattr(options, "find_spec", lambda name: None)
    message = r'model\.quantize is "nf4", but bitsandbytes is not installed: pip install bitsandbytes'
    with pytest.raises(ValueError, match=message):
        load(saved, quantize="nf4", lora_rank=4)

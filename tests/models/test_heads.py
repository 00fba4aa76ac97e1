"""The head of critic and reward model, and the hidden states that it reads."""

import pytest
import torch

from helpers.tiny_models import PAD, make_page, make_policy, tokens
from ocr_rl.models.heads import ScalarHead
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.page_reader import PageReader

IDS, MASK = pad_rows([tokens("abcd"), tokens("be")], PAD)


@pytest.mark.parametrize("width", [0, 5])
def test_a_new_head_returns_zero_and_learns_from_there(width):
    """Only the output layer gets a gradient of sum(V), since its weights are 0; its bias's is the number of values."""
    head, hidden = ScalarHead(3, width), torch.randn(2, 4, 3, requires_grad=True)
    values = head(hidden)
    assert values.shape == (2, 4)
    assert not values.any()
    values.sum().backward()
    assert not hidden.grad.any()
    assert head.output.bias.grad.item() == 8
    assert head.output.weight.grad.abs().min() > 0


def test_a_linear_head_is_w_h_plus_b():
    """2 * 1 - 1 * 3 + 0.5."""
    head = ScalarHead(2)
    with torch.no_grad():
        head.output.weight.copy_(torch.tensor([[2.0, -1.0]]))
        head.output.bias.fill_(0.5)
    assert head(torch.tensor([[1.0, 3.0]], dtype=torch.float64)).tolist() == [-0.5]


def test_the_same_seed_draws_the_same_hidden_layer_whatever_was_drawn_before():
    first = ScalarHead(8, 4, seed=1)
    torch.manual_seed(99)
    again, other = ScalarHead(8, 4, seed=1), ScalarHead(8, 4, seed=2)
    assert torch.equal(first.inner.weight, again.inner.weight)
    assert not torch.equal(first.inner.weight, other.inner.weight)


@pytest.mark.parametrize("width", [0, 5])
def test_a_saved_head_loads_bit_for_bit(tmp_path, width):
    head = ScalarHead(3, width)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    head.save(tmp_path / "deeper" / "head.safetensors")
    again = ScalarHead.load(tmp_path / "deeper" / "head.safetensors")
    assert head.state_dict().keys() == again.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in head.state_dict().items())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("architecture", ["lighton", "qwen"])
def test_there_is_a_hidden_state_before_each_token_and_after_the_last(architecture, checkpointing):
    """Those before the tokens give the log probabilities; there is one more after the last. Padding does not matter."""
    policy = make_policy(architecture, gradient_checkpointing=checkpointing)
    with torch.no_grad():
        reader = PageReader(policy, policy.prompt(make_page()))
        scores, hidden = reader.score(IDS, MASK, 1.0), reader.hidden(IDS)
        assert hidden.shape == (2, 5, policy.hidden_size)
        torch.testing.assert_close(hidden[:, :-1], scores.hidden, atol=1e-5, rtol=1e-5)
        logits = policy.logits(hidden[:, :-1], 1.0).log_softmax(-1)
        said = logits.gather(2, IDS[..., None]).squeeze(2)
        torch.testing.assert_close(said[MASK], scores.logprobs[MASK], atol=1e-5, rtol=1e-5)
        shorter = reader.hidden(IDS[1:, :2])
        torch.testing.assert_close(hidden[1:, :3], shorter, atol=1e-5, rtol=1e-5)

"""How many tokens and patches go through the layers in a training step, counted by hooks."""

from collections import Counter

import pytest
import torch

from helpers.tiny_models import ARCHITECTURES, make_page, make_policy
from ocr_rl.models.page_reader import PageReader

G, T = 5, 12


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("checkpointing", "passes"), [(False, 3), (True, 4)])
def test_a_step_passes_the_prompt_once_for_all_completions(architecture, checkpointing, passes):
    """A pass of a token: 1 forward, 1 more if recomputed, 2 backward. P prompt tokens, G completions of T tokens.

    The last token of a completion is predicted and not read. With the prompt repeated, it would be G (P + T) tokens.
    """
    policy = make_policy(architecture, gradient_checkpointing=checkpointing)
    prompt = policy.prompt(make_page(0, (64, 64)))
    counts, layers = Counter(), {"decoder": policy.base.get_decoder().layers[0].mlp, "tower": tower_mlp(policy)}
    for name, module in layers.items():
        module.register_forward_pre_hook(lambda _, inputs, name=name: counts.update({name: rows(inputs[0])}))
        module.register_full_backward_hook(lambda _, __, out, name=name: counts.update({name: 2 * rows(out[0])}))
    reading = PageReader(policy, prompt, grad=True)
    ids = torch.full((G, T), policy.end_ids[0])
    for half in (slice(0, 3), slice(3, G)):  # two micro-batches
        reading.score(ids[half], torch.ones(ids[half].shape, dtype=torch.bool), 1.0).logprobs.sum().backward()
    reading.backward()
    assert counts["decoder"] == passes * (len(prompt) + G * (T - 1)) <= 4 * (len(prompt) + G * T)
    patches = 64 if architecture == "lighton" else int(prompt.inputs["image_grid_thw"].prod())
    assert counts["tower"] == passes * patches


def rows(tensor):
    return tensor.numel() // tensor.shape[-1]


def tower_mlp(policy):
    """The first feed-forward layer of the vision tower."""
    names = ("visual.blocks.0.mlp", "vision_encoder.transformer.layers.0.feed_forward")
    return next(module for name, module in policy.base.model.named_modules() if name in names)

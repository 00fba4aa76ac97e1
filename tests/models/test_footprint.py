"""What a step takes in memory is foretold from a config: few layers stand for all, and no weight is loaded."""

import copy
from collections import Counter
from dataclasses import replace

import pytest
import torch

from helpers.tiny_models import make_model, make_page, make_processor
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models import footprint
from ocr_rl.models.footprint import OUTSIDE, bare_policy, cut_layers, give_zeros, kinds_of, measure
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import Prompt


def deep_config(architecture):
    """Five decoder layers and six vision layers."""
    config = make_model(architecture).config
    vision, text = config.vision_config, config.get_text_config()
    setattr(vision, "depth" if architecture == "qwen" else "num_hidden_layers", 6)
    text.num_hidden_layers, text.layer_types = 5, ["full_attention"] * 5
    return config


@pytest.mark.parametrize("architecture", ["lighton", "qwen"])
@pytest.mark.parametrize("rows", [1, 3])
def test_two_layers_of_a_kind_stand_for_all(architecture, rows):
    config, kind = deep_config(architecture), type(make_model(architecture))
    with torch.device("meta"):
        model = kind(copy.deepcopy(config))
    layers = dict(Counter(kinds_of(model, model.config).values()))
    assert sorted(layers.values()) == [5, 6]
    cut_layers(model, model.config)
    give_zeros(model)
    few, whole = Policy(model, make_processor(architecture)), Policy(kind(config), make_processor(architecture))
    assert sorted(Counter(kinds_of(few.model, few.base.config).values()).values()) == [2, 2]
    prompt = few.prompt(make_page(0, (96, 64)))
    found, true = (measure(policy, layers, prompt, 24) for policy in (few, whole))
    assert found.activations(rows, 24, False) == pytest.approx(true.activations(rows, 24, False), rel=0.05)
    assert found.cache_token == true.cache_token == 2 * 5 * 16 * 4  # keys and values of one head, float32
    assert found.activations(rows, 24, True) < 0.5 * found.activations(rows, 24, False)


def test_activations_are_those_that_autograd_keeps():
    """y = (x @ w).relu(): a layer keeps x and y; of a completion of two tokens, both again."""
    policy = Policy(make_model("lighton"), make_processor("lighton"))
    layers = dict(Counter(kinds_of(policy.model, policy.base.config).values()))
    short, long = (measure(policy, layers, policy.prompt(make_page()), tokens) for tokens in (11, 21))
    kind = next(kind for kind in layers if "Decoder" in kind)
    by_token = (long.row[kind] - short.row[kind]) / 10
    hidden, inner, heads, key_values = 32, 48, 2 * 16, 16
    least = 4 * (4 * hidden + 3 * inner + heads + 2 * key_values)  # what the products of a layer start from
    assert least < by_token < 3 * least
    assert short.row[OUTSIDE] > 0
    assert short.width == hidden * 4


@pytest.mark.parametrize(
    "changes", [{}, {"lora_rank": 4}, {"freeze_vision": True}, {"lora_rank": 4, "freeze_vision": True}]
)
def test_weights_are_counted_without_loading_them(changes, monkeypatch):
    config = ModelConfig(**{"path": "tiny", "compute_dtype": "bfloat16"} | changes)
    loaded = Policy.load(config)
    parameters = list(loaded.model.parameters())
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", None)
    policy, weights, layers = bare_policy(config, torch.bfloat16)
    assert weights.parameters == sum(p.numel() for p in parameters)
    assert weights.trained == sum(p.numel() for p in parameters if p.requires_grad)
    assert weights.weights == sum(p.numel() * p.element_size() for p in parameters)
    prompt = policy.prompt(make_page(0, (200, 100)))
    assert prompt.token_ids == loaded.prompt(make_page(0, (200, 100))).token_ids
    assert measure(policy, layers, prompt, 8).activations(2, 8, False) > 0


def test_four_bits_a_weight_are_counted(monkeypatch):
    wide = bare_policy(ModelConfig(path="tiny", lora_rank=4), torch.bfloat16)[1]
    narrow = bare_policy(ModelConfig(path="tiny", lora_rank=4, quantize="nf4"), torch.bfloat16)[1]
    assert narrow.parameters == wide.parameters
    assert 0.25 < narrow.weights / wide.weights < 0.9


def test_logits_and_keys_of_a_seven_billion_model_are_those_on_paper():
    """2**24 logits at V = 152,064 are 110 tokens; 56 KiB of keys and values a token in bfloat16 and 28 layers."""
    found = replace(measure(*_tiny()), vocabulary=152_064, cache_token=2 * 4 * 128 * 28 * 2, prompt_tokens=1500)
    assert found.logits(8, 1500) == 5 * 4 * 152_064 * 110
    assert found.logits(1, 50) == 5 * 4 * 152_064 * 50
    assert found.cache(64, 3000) == 64 * 4500 * 56 * 1024


def _tiny() -> tuple[Policy, dict[str, int], Prompt, int]:
    policy, _, layers = bare_policy(ModelConfig(path="tiny"), torch.float32)
    return policy, layers, policy.prompt(make_page()), 4


def test_a_model_that_is_not_there_is_the_users_error(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(ValueError, match="model"):
        footprint.bare_policy(ModelConfig(path=str(tmp_path / "model")), torch.float32)

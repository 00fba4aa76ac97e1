"""LoRA adapters: the layers that get one, a reload that is exact, and what is said or refused."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.families import save
from helpers.tiny_models import assert_all_close, weights
from ocr_rl.config.loader import load_recipe
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.checkpoints.adapters import without_adapter
from ocr_rl.models.policy import Policy

TEXT = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def adapted(policy):
    """Names of the layers with an adapter."""
    return {name.partition(".lora_A")[0] for name, _ in policy.base.named_parameters() if ".lora_A." in name}


def randomised(policy):
    for name, parameter in policy.model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return policy


@pytest.mark.parametrize(
    ("targets", "language", "vision"),
    [("all-linear", True, True), ("language", True, False), ("vision", False, True), (["q_proj"], True, True)],
)
def test_the_targets_are_the_layers_that_get_an_adapter(saved, targets, language, vision):
    policy = Policy.load(ModelConfig(path=str(saved), lora_rank=2, lora_targets=targets))
    names = adapted(policy)
    assert any("language_model" in name for name in names) == language
    assert any("vision_encoder" in name for name in names) == vision
    assert "lm_head" not in names
    if targets == "language":
        assert {name.rpartition(".")[2] for name in names} == TEXT
        assert len(names) == 2 * len(TEXT)
    if targets == ["q_proj"]:
        assert {name.rpartition(".")[2] for name in names} == {"q_proj"}
        assert len(names) == 4


def test_language_and_vision_together_are_all_linear_layers(saved):
    found = [
        adapted(Policy.load(ModelConfig(path=str(saved), lora_rank=2, lora_targets=targets)))
        for targets in ("language", "vision", "all-linear")
    ]
    assert not found[0] & found[1]
    assert found[0] | found[1] == found[2]


def test_a_frozen_tower_has_no_adapter_among_named_layers(saved):
    config = ModelConfig(path=str(saved), lora_rank=2, lora_targets=["q_proj"], freeze_vision=True)
    assert {name for name in adapted(Policy.load(config)) if "vision_encoder" in name} == set()


def test_a_name_that_no_layer_has_is_refused_with_those_that_there_are(saved):
    with pytest.raises(ValueError, match=r'lora_targets has "qproj", but .*, or some of down_proj, .*q_proj'):
        Policy.load(ModelConfig(path=str(saved), lora_rank=2, lora_targets=["v_proj", "qproj"]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.lora_targets=[]"], r"model.lora_targets is \[\]; write one of all-linear, language, vision, or names"),
        (['model.lora_targets=["language", "q_proj"]'], "model.lora_targets is .*; write one of all-linear"),
        (["model.lora_targets=vision", "model.freeze_vision=true"], "model.freeze_vision is True; write false, or"),
    ],
)
def test_targets_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        load_recipe("grpo", ["model.lora_rank=4", *settings])


@pytest.mark.parametrize("targets", ["all-linear", "language", ["q_proj", "linear_1"]])
def test_a_reloaded_adapter_is_the_saved_one_bit_for_bit(saved, tmp_path, targets):
    policy = randomised(Policy.load(ModelConfig(path=str(saved), lora_rank=2, lora_targets=targets)))
    policy.save(tmp_path / "adapter")
    again = Policy.load(ModelConfig(path=str(tmp_path / "adapter")))
    assert_all_close(weights(again), weights(policy), 0.0)
    assert adapted(again) == adapted(policy)
    assert len(again.trainable_parameters()) == len(policy.trainable_parameters()) > 0


def test_an_adapter_whose_names_peft_would_rename_is_loaded_whole(tmp_path):
    """DeepSeek-OCR-2: peft applies the checkpoint's renamings to names that have them already, and loses 28 of 52."""
    policy = Policy.load(ModelConfig(path=str(save("deepseek_ocr2", tmp_path / "base")), lora_rank=2), device="cpu")
    randomised(policy).save(tmp_path / "adapter")
    again = Policy.load(ModelConfig(path=str(tmp_path / "adapter")), device="cpu")
    assert_all_close(weights(again), weights(policy), 0.0)
    before = weights(policy)
    for parameter in policy.trainable_parameters():
        torch.nn.init.zeros_(parameter)
    policy.load_weights(tmp_path / "adapter")
    assert_all_close(weights(policy), before, 0.0)


def changed(folder, change):
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(min(t)), r"\S+lora_A\S*weight is not in it; it is the adapter of another model"),
        (lambda t: t.update(extra=torch.ones(2)), "extra has no place in the model; it is the adapter of another"),
        (
            lambda t: t.update({min(t): torch.ones(2, 7)}),
            r"lora_A.weight is \[2, 7\], but the model's is \[2, 48\]; it is the adapter of another model",
        ),
    ],
)
def test_an_adapter_with_a_tensor_too_few_too_many_or_of_another_shape_is_refused(saved, tmp_path, change, message):
    folder = tmp_path / "adapter"
    Policy.load(ModelConfig(path=str(saved), lora_rank=2, lora_targets="language")).save(folder)
    changed(folder, change)
    with pytest.raises(ValueError, match=re.escape(f"{folder}/adapter_model.safetensors: ") + r".*" + message):
        Policy.load(ModelConfig(path=str(folder)))


def test_an_adapter_keeps_its_layers(saved, tmp_path):
    Policy.load(ModelConfig(path=str(saved), lora_rank=2, lora_targets="language")).save(tmp_path / "adapter")
    config = {"path": str(tmp_path / "adapter"), "lora_alpha": 32}
    assert adapted(Policy.load(ModelConfig(**config, lora_rank=2)))
    with pytest.raises(ValueError, match=r"model.lora_targets is \['vision'\], but the adapter .* keeps its layers"):
        Policy.load(ModelConfig(**config, lora_rank=2, lora_targets="vision"))
    with pytest.raises(ValueError, match=r"has 2, which stays; .*first `ocr-rl merge .*adapter --out FOLDER`, and"):
        Policy.load(ModelConfig(**config, lora_rank=4))


def test_a_continued_adapter_names_the_base_that_was_loaded(saved, tmp_path, monkeypatch):
    """Saved elsewhere, a path relative to the first adapter would lead nowhere."""
    monkeypatch.chdir(tmp_path)
    Policy.load(ModelConfig(path=saved.name, lora_rank=2)).save(tmp_path / "first")
    Policy.load(ModelConfig(path="first")).save(tmp_path / "deep" / "below" / "second")
    file = tmp_path / "deep" / "below" / "second" / "adapter_config.json"
    assert json.loads(file.read_text())["base_model_name_or_path"] == "../../../policy"
    monkeypatch.chdir("/")
    Policy.load(ModelConfig(path=str(file.parent)))


def test_what_has_no_adapter_is_named(saved):
    """lighton: 2 x 7 layers of the decoder, embedding and head of 23 x 32 each."""
    assert without_adapter(Policy.load(ModelConfig(path=str(saved))).model) == ""
    policy = Policy.load(ModelConfig(path=str(saved), lora_rank=2))
    line = without_adapter(policy.model)
    assert line.startswith(f"LoRA: {len(adapted(policy))} layers have an adapter; these weights have none")
    assert "lm_head (736)" in line
    assert "language_model.embed_tokens (736)" in line


def test_expert_weights_have_no_adapter_and_are_named(tmp_path):
    """qwen3_vl_moe: each layer has one tensor for all of its experts."""
    policy = Policy.load(ModelConfig(path=str(save("qwen3_vl_moe", tmp_path)), lora_rank=2), device="cpu")
    for name in ("gate_up_proj", "down_proj"):
        size = sum(p.numel() for key, p in policy.model.named_parameters() if key.endswith(f"experts.{name}"))
        assert size > 0
        assert f"experts.{name} ({size:,})" in without_adapter(policy.model)

"""A checkpoint whose files are cut short, missing or of another model: one message, never random weights."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.tiny_models import make_policy
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.policy import Policy

DAMAGES = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "other bytes": lambda content: b"\xff\xfe\x00" * 99,
    "a list": lambda content: b"[]",
    "missing": lambda content: None,
}
TEXTS = ("chat_template.jinja", "README.md")
WEIGHT = "model.language_model.layers.0.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A policy, and an adapter of it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    make_policy().save(folder / "policy")
    Policy.load(ModelConfig(path=str(folder / "policy"), lora_rank=2)).save(folder / "adapter")
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["policy", "adapter"])
def test_each_file_that_is_damaged_is_named_or_does_not_matter(checkpoints, tmp_path, kind, damage):
    names = sorted(file.name for file in (checkpoints / kind).iterdir() if file.name not in TEXTS)
    assert len(names) > 4
    for name in names:
        folder = tmp_path / name
        shutil.copytree(checkpoints / kind, folder)
        content = DAMAGES[damage]((folder / name).read_bytes())
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
        try:
            Policy.load(ModelConfig(path=str(folder)))
        except ValueError as error:
            message = str(error)
        else:
            assert damage == "missing"
            assert name in ("generation_config.json", "prompt_format.json"), name
            continue
        assert damage == "missing" or f"{folder / name} " in message
        assert "\n" not in message


def edited(checkpoints, tmp_path, edit):
    folder = shutil.copytree(checkpoints / "policy", tmp_path / "edited")
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def test_weights_that_are_missing_are_not_made_up(checkpoints, tmp_path):
    path = edited(checkpoints, tmp_path, lambda weights: weights.pop(WEIGHT))
    with pytest.raises(ValueError, match=f"its weights lack {WEIGHT}, which would be random"):
        Policy.load(ModelConfig(path=path))


def test_weights_of_another_shape_are_named_with_both(checkpoints, tmp_path):
    path = edited(checkpoints, tmp_path, lambda weights: weights.update({WEIGHT: weights[WEIGHT][:-1].contiguous()}))
    with pytest.raises(ValueError, match=rf"{WEIGHT} is \[\d+, \d+\] in its weights, but \[\d+, \d+\] by its config"):
        Policy.load(ModelConfig(path=path))


def test_weights_that_are_not_finite_are_named(checkpoints, tmp_path):
    path = edited(checkpoints, tmp_path, lambda weights: weights.update({WEIGHT: weights[WEIGHT] * torch.nan}))
    with pytest.raises(ValueError, match="its weights hold NaN or infinity"):
        Policy.load(ModelConfig(path=path))


def test_a_shard_that_the_index_names_is_missed(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints / "policy", tmp_path / "sharded")
    index = {"metadata": {}, "weight_map": {WEIGHT: "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    Policy.load(ModelConfig(path=str(folder)))  # the whole file is there, and an index is left over
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model-00002-of-00002.safetensors is missing; copy or download it again"):
        Policy.load(ModelConfig(path=str(folder)))


def test_a_file_that_is_not_loaded_may_be_anything(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints / "policy", tmp_path / "other")
    (folder / "consolidated.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    Policy.load(ModelConfig(path=str(folder)))

"""Checkpoints that share one base: runs of two steps, adapters with random weights, and pages to read."""

import json

import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from helpers.tiny_models import make_page
from ocr_rl.cli.main import main
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.policy import Policy


def train(place, name, *settings):
    """A run of two steps on the pages of `place`, with evaluations on the way; NAME.log is what it printed."""
    values = {
        "data.validation": 0.5,
        "rollout.group_size": 4,
        "rollout.max_tokens": 6,
        "rollout.pages_per_step": 2,
        "grpo.min_group_std": 1e-3,
        "train.steps": 2,
        "train.learning_rate": 1e-3,
        "train.eval_every": 1,
        "train.checkpoint_every": 1,
        "train.tensorboard": False,
    }
    options = [f"--set={key}={json.dumps(value)}" for key, value in values.items()]
    files = ["--data", place / "pages", "--model", place / "policy", "--out", place / name]
    result = CliRunner().invoke(main, [str(word) for word in ["train", *files, *options, *settings]])
    assert result.exit_code == 0, result.output
    (place / f"{name}.log").write_text(result.output)
    return place / name


def adapter(base, folder, seed, std=0.2, **settings):
    """An adapter of `base` with random weights, saved."""
    policy = Policy.load(ModelConfig(path=str(base), **{"lora_rank": 2, "lora_alpha": 8, **settings}), device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in policy.model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=std, generator=generator)
    policy.save(folder)
    return folder


def write_pages(folder, texts):
    """A dataset of noise pages with these references."""
    folder.mkdir()
    rows = []
    for i, text in enumerate(texts):
        page = make_page(i)
        page.image.save(folder / f"{page.id}.png")
        rows.append({"file_name": f"{page.id}.png", "text": text})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def by_hand(base, folder):
    """W + alpha / r * B A in float64, from the files."""
    config = json.loads((folder / "adapter_config.json").read_text())
    lora = {n.removeprefix("base_model.model."): t for n, t in load_file(folder / "adapter_model.safetensors").items()}
    full = {name: tensor.double() for name, tensor in load_file(base / "model.safetensors").items()}
    for name, a in lora.items():
        if name.endswith("lora_A.weight"):
            b = lora[name.replace("lora_A", "lora_B")]
            layer = name.replace("lora_A.weight", "weight")
            full[layer] = full[layer] + config["lora_alpha"] / config["r"] * b.double() @ a.double()
    return full

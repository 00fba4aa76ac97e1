"""LoRA adapters: which layers get one, loading a saved one exactly, and the base that it names."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ocr_rl.config.embedded import EMBEDDED
from ocr_rl.hub import check_hub_model
from ocr_rl.models.divided_tensors import own_part, same_part

if TYPE_CHECKING:
    from ocr_rl.config.schema import ModelConfig

ADAPTER = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
TOWER = r".*(visual|vision_encoder|vision_tower|vision_model).*"
SHOWN = 3
"""Names that a message lists."""


def with_lora(model: Any, config: ModelConfig, adapter: Path | None) -> Any:
    """The model with a new adapter on the linear layers that `config` names, or with a saved one.

    Raises:
        ValueError: no layer has such a name; the saved adapter does not fit the model.
    """
    from peft import LoraConfig, PeftConfig, get_peft_model

    if adapter is not None:
        saved: Any = PeftConfig.from_pretrained(str(adapter))
        saved.inference_mode, saved.base_model_name_or_path = False, model.name_or_path
        adapted = get_peft_model(model, saved)
        if model.device.type != "meta":  # its weights are not here
            restore(adapted, adapter)
        return adapted
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        target_modules=targets(model, config.lora_targets),
        exclude_modules=TOWER if config.freeze_vision else None,
    )
    return get_peft_model(model, lora)


def targets(model: Any, wanted: Sequence[str]) -> str | list[str]:
    """The layers of `model.lora_targets`, by their full names, or "all-linear", which peft knows.

    Raises:
        ValueError: there is no such linear layer; the message lists the names that there are.
    """
    if wanted == ["all-linear"]:
        return "all-linear"
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    if wanted in (["language"], ["vision"]):
        head, decoder = model.get_output_embeddings(), {*model.get_decoder().modules()}
        inside = wanted == ["language"]
        return [name for name, layer in layers.items() if layer is not head and (layer in decoder) == inside]
    found: set[str] = set()
    for part in wanted:
        own = {name for name in layers if f".{name}".endswith(f".{part}")}
        if not own:
            known = ", ".join(sorted({name.rpartition(".")[2] for name in layers}))
            raise ValueError(
                f'model.lora_targets has "{part}", but no linear layer of {type(model).__name__} has a name that ends '
                f'so; write "all-linear", "language", "vision", or some of {known}'
            )
        found |= own
    return sorted(found)


def restore(model: Any, folder: Path) -> None:
    """Load the adapter in `folder` into a model that has one of the same form, in place.

    Raises:
        ValueError: a tensor of the file has no place in the model, or one of the model is not in the file.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    file = folder / WEIGHTS
    saved = load_file(file)
    own: dict[str, Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    if saved.keys() == own.keys():  # not through peft, which renames some that have the model's names already
        for name, tensor in saved.items():
            if tensor.shape != own[name].shape:
                raise ValueError(
                    f"{file}: {name} is {list(tensor.shape)}, but the model's is {list(own[name].shape)}; it is the "
                    "adapter of another model"
                )
            own_part(own[name]).copy_(same_part(tensor, own[name]))
        now = get_peft_model_state_dict(model, save_embedding_layers=False)
        parts = ((own_part(now[name]), same_part(tensor, now[name])) for name, tensor in saved.items())
        assert all(torch.equal(part, wanted.to(part)) for part, wanted in parts)
        return
    try:  # names of another library or version, which peft can convert
        result = set_peft_model_state_dict(model, saved)
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"{file}: {str(error).splitlines()[-1].strip()}; it is the adapter of another model") from None
    missing = [name for name in result.missing_keys if "lora_" in name]
    if names := [*result.unexpected_keys, *missing]:
        where = "has no place in the model" if result.unexpected_keys else "is not in it"
        raise ValueError(
            f"{file}: {names[0]} {where}{f', nor {len(names) - 1} others' if names[1:] else ''}; it is the adapter of "
            "another model, or written by a version that names layers differently"
        )


def check_adapter(config: ModelConfig, saved: Mapping[str, Any]) -> None:
    """Raises ValueError if the recipe asks for another rank, scaling or set of layers than the saved adapter has.

    Args:
        saved: the adapter's own adapter_config.json.
    """
    if not config.lora_rank:
        return
    for key, own in (("lora_rank", saved["r"]), ("lora_alpha", saved["lora_alpha"])):
        value = getattr(config, key)
        if value != own:
            raise ValueError(
                f'model.{key} is {value}, but the adapter "{config.path}" has {own}, which stays; write {own}, or '
                f"model.lora_rank = 0 to take both from the adapter; for a new adapter on top of it, first "
                f"`ocr-rl merge {config.path} --out FOLDER`, and give that folder"
            )
    if config.lora_targets != ["all-linear"]:
        raise ValueError(
            f'model.lora_targets is {config.lora_targets!r}, but the adapter "{config.path}" keeps its layers; leave '
            "it out"
        )


def without_adapter(model: Any) -> str:
    """One line that names the weights of an adapted model that have no adapter; "" for a model without one.

    Vectors (biases, norms) are not counted.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not hasattr(model, "peft_config"):
        return ""
    base = model.get_base_model()
    adapted = [name for name, module in base.named_modules() if isinstance(module, BaseTunerLayer)]
    inside = tuple(f"{name}." for name in adapted)
    others: Counter[str] = Counter()
    for name, weight in base.named_parameters():
        if weight.ndim > 1 and not name.startswith(inside):
            others[re.sub(r"\.\d+\.", ".*.", name).removeprefix("model.").removesuffix(".weight")] += weight.numel()
    line = f"LoRA: {len(adapted)} layers have an adapter"
    if others:
        named = ", ".join(f"{name} ({count:,})" for name, count in others.most_common(SHOWN))
        more = f" and {len(others) - SHOWN} others" if len(others) > SHOWN else ""
        line += f"; these weights have none and stay as they are: {named}{more}"
    return line


def base_of(adapter: Path, saved: Mapping[str, Any]) -> str:
    """The base model of an adapter: an embedded policy, a folder, perhaps relative to `adapter`, or a hub id.

    Raises:
        ValueError: it is a folder that is not there, or a hub id that cannot be had.
    """
    base = str(saved["base_model_name_or_path"])
    if base not in EMBEDDED and (adapter / base).is_dir():
        return str(adapter / base)
    path_like = base.startswith(("/", ".")) or base.count("/") > 1
    if path_like and not Path(base).is_dir():
        raise ValueError(
            f'model.path "{adapter}" is an adapter, and its base model "{base}" is not there; put it there, or correct '
            f"base_model_name_or_path in {adapter / ADAPTER}"
        )
    if base not in EMBEDDED and not Path(base).is_dir():
        try:
            check_hub_model(base)
        except ValueError as error:
            raise ValueError(f'model.path "{adapter}" is an adapter, and its base is missing: {error}') from None
    return base


def store_base(adapter: Path) -> None:
    """Name the base in a saved adapter so that it is found elsewhere: by an embedded name, or a relative path."""
    file = adapter / ADAPTER
    saved = json.loads(file.read_text(encoding="utf-8"))
    base = Path(saved["base_model_name_or_path"])
    names = [name for name, folder in EMBEDDED.items() if base == folder]
    if names:
        saved["base_model_name_or_path"] = names[0]
    elif base.is_dir() and not base.is_absolute():
        saved["base_model_name_or_path"] = os.path.relpath(base.resolve(), adapter.resolve())
    else:
        return
    file.write_text(json.dumps(saved, indent=2, sort_keys=True), encoding="utf-8")

"""What a model needs in memory to train, without its weights: counted on the meta device, and measured on few layers.

The model is made from its config without weights. All but the first layers of each kind are cut off, the rest gets
zeros, which take no memory until they are written to, and reads one page and some completions. What autograd keeps of
them is counted for each layer, and multiplied by the number of such layers in the whole model.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.modeling_layers import GradientCheckpointingLayer

from ocr_rl.config.embedded import model_folder
from ocr_rl.models.checkpoints.adapters import ADAPTER, base_of, with_lora
from ocr_rl.models.checkpoints.files import check_files
from ocr_rl.models.checkpoints.loading import check_model, load_error, vision_tower
from ocr_rl.models.checkpoints.processors import load_processor
from ocr_rl.models.kv_cache import layer_tensors
from ocr_rl.models.policy import LOGITS_PER_CHUNK, Policy
from ocr_rl.models.prompt import Prompt
from ocr_rl.models.prompt_format import chat_template, prompt_format

if TYPE_CHECKING:
    from ocr_rl.config.schema import ModelConfig

QUANTIZED = 0.516
"""Bytes of a weight of 4 bits, its doubly quantised scale included."""
OUTSIDE = "outside of the layers"
Kind = str
"""Which layers are alike: their class, and how they attend."""


@dataclass(frozen=True)
class Weights:
    """Bytes of the parameters."""

    parameters: int
    """Their number."""
    trained: int
    """The number of those that are trained."""
    weights: int
    """Bytes of all of them."""
    gathered: int = 0
    """Bytes of those that are whole at a time where processes divide them, see `gathered_weights`."""
    whole: int = 0
    """Bytes of all of them in the type of computing."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that a step takes beside the weights, for one page."""

    prompt_tokens: int
    read: Mapping[Kind, int]
    """What autograd keeps of the page, by layer."""
    row: Mapping[Kind, int]
    """What it keeps of one completion."""
    once: Mapping[Kind, int]
    """What it keeps of all completions of a micro-batch together: copies of weights in another precision."""
    layers: Mapping[Kind, int]
    """How many layers of a kind the whole model has; one `OUTSIDE`."""
    width: int
    """Bytes of a token between two layers."""
    cache_token: int
    """Bytes of the keys and values of a token, in all layers."""
    vocabulary: int

    def activations(self, rows: int, tokens: int, recompute: bool) -> int:
        """Those of a page and a micro-batch of `rows` completions of `tokens` tokens.

        With `recompute`, a layer keeps what it starts from, and one at a time everything.
        """
        whole = {kind: self.read[kind] + self.once[kind] + rows * self.row[kind] for kind in self.layers}
        if not recompute:
            return sum(count * whole[kind] for kind, count in self.layers.items())
        deep = sum(count for kind, count in self.layers.items() if kind != OUTSIDE)
        boundaries = deep * (self.prompt_tokens + rows * tokens) * self.width
        return whole[OUTSIDE] + boundaries + max(whole[kind] for kind in self.layers if kind != OUTSIDE)

    def logits(self, rows: int, tokens: int) -> int:
        """Float32 logits of a chunk, with their softmax, its logarithm, the gradient, and one more on the way."""
        size = max(1, LOGITS_PER_CHUNK // self.vocabulary)
        return 5 * 4 * self.vocabulary * min(size, rows * tokens)

    def cache(self, rows: int, tokens: int) -> int:
        """Keys and values of completions that are sampled together, each with its own copy of the prompt's."""
        return rows * (self.prompt_tokens + tokens) * self.cache_token

    def sampling(self, rows: int) -> int:
        """Logits of a token of each completion, with the distribution, its exponentials and copies."""
        return 4 * 4 * self.vocabulary * rows


def bare_policy(config: ModelConfig, compute_dtype: torch.dtype) -> tuple[Policy, Weights, dict[Kind, int]]:
    """A policy with the first layers of the model and zeros as weights; the whole model's weights and layers.

    Raises:
        ValueError: there is no model of this name, or it cannot be trained here.
    """
    path = model_folder(config.path)
    adapter, base = Path(path) / ADAPTER, path
    check_files(Path(path))
    if adapter.is_file():
        base = base_of(Path(path), json.loads(adapter.read_text()))
        base = model_folder(base)
    frozen_base = bool(config.lora_rank) or adapter.is_file()
    trust = config.trust_remote_code
    attend = {} if config.attn_implementation == "auto" else {"attn_implementation": config.attn_implementation}
    try:
        found = AutoConfig.from_pretrained(base, trust_remote_code=trust)
        with torch.device("meta"):
            dtype = compute_dtype if frozen_base else torch.float32
            model = AutoModelForImageTextToText.from_config(found, dtype=dtype, trust_remote_code=trust, **attend)
        processor = load_processor(path, trust_remote_code=trust)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ValueError(f'model.path "{config.path}": {load_error(error, base)}') from None
    asked = prompt_format(config, model.config, [path, base])
    processor.chat_template = chat_template(config, asked, processor)
    check_model(model, processor, config.path)
    quantized = _linear_weights(model) if config.quantize else 0
    frozen = vision_tower(model) if config.freeze_vision else None
    if frozen_base:
        with torch.device("meta"):
            model = with_lora(model, config, Path(path) if adapter.is_file() else None)
    if frozen is not None:
        frozen.requires_grad_(False)
    weights = replace(
        count_weights(model, quantized),
        gathered=gathered_weights(model, compute_dtype.itemsize),
        whole=compute_dtype.itemsize * sum(p.numel() for p in model.parameters()),
    )
    layers = dict(Counter(kinds_of(model, model.config).values()))
    cut_layers(model, model.config)
    give_zeros(model)
    options: dict[str, Any] = {"max_pixels": config.max_pixels or None, "source": path, "prompt_format": asked}
    return Policy(model, processor, compute_dtype=compute_dtype, **options), weights, layers


def count_weights(model: nn.Module, quantized: int = 0) -> Weights:
    """`quantized`: how many of the weights have 4 bits each."""
    parameters = list(model.parameters())
    wide = parameters[0].element_size()
    return Weights(
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        sum(p.numel() * p.element_size() for p in parameters) - int(quantized * (wide - QUANTIZED)),
    )


def gathered_weights(model: nn.Module, width: int) -> int:
    """Bytes of divided weights that are whole while a model learns, if it computes with values of `width` bytes.

    That is what is outside of the layers, with its gradients, and two layers, with the gradients of one. Gradients are
    there in this type, and in float32 for their sum.
    """

    def size(parameters: Iterable[Tensor], times: int = 1) -> int:
        gradient = 4 if width == 4 else width + 4
        return sum(p.numel() * (times * width + p.requires_grad * gradient) for p in parameters)

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    inside = {id(parameter) for layer in layers for parameter in layer.parameters()}
    outside = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    return size(outside) + max((size(layer.parameters(), 2) for layer in layers), default=0)


def _linear_weights(model: Any) -> int:
    head = model.get_output_embeddings()
    return sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear) and m is not head)


def kinds_of(model: nn.Module, config: Any) -> dict[nn.Module, Kind]:
    """The kind of each layer that could be recomputed."""
    attend = getattr(config.get_text_config(), "layer_types", None) or ()
    kinds = {}
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            index = next(
                (m.layer_idx for m in module.modules() if isinstance(getattr(m, "layer_idx", None), int)), None
            )
            how = attend[index] if index is not None and index < len(attend) else ""
            kinds[module] = f"{type(module).__name__} {how}".strip()
    return kinds


def cut_layers(model: nn.Module, config: Any) -> None:
    """Keep the first layers of each list: so many that each kind is there, and two at least."""
    kinds = kinds_of(model, config)
    for module in list(model.modules()):
        for name, layers in list(module.named_children()):
            if isinstance(layers, nn.ModuleList) and len(layers) > 2 and all(layer in kinds for layer in layers):
                own = [kinds[layer] for layer in layers]
                kept = max(2, *(own.index(kind) + 1 for kind in set(own)))
                setattr(module, name, layers[:kept])
                text = config.get_text_config()
                if text.num_hidden_layers == len(layers) and hasattr(layers[0], "self_attn"):
                    text.num_hidden_layers = kept
                    if getattr(text, "layer_types", None):
                        text.layer_types = text.layer_types[:kept]


def give_zeros(model: nn.Module) -> None:
    """Zeros on the CPU in place of tensors without storage."""

    def zeros(tensor: Tensor) -> Tensor:
        raw = torch.from_numpy(np.zeros(max(1, tensor.numel() * tensor.element_size()), np.uint8))
        return raw[: tensor.numel() * tensor.element_size()].view(tensor.dtype).view(tensor.shape)

    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and parameter.is_meta:
                module._parameters[name] = nn.Parameter(zeros(parameter), parameter.requires_grad)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and buffer.is_meta:
                module._buffers[name] = zeros(buffer)
    tie = getattr(model, "tie_weights", None)
    if tie is not None:
        tie()


class _Ledger:
    """Counts what autograd keeps, by the layer that is running."""

    def __init__(self, policy: Policy, kinds: Mapping[nn.Module, Kind]) -> None:
        self.kinds = kinds
        self._running: list[Kind] = [OUTSIDE]
        self._known = {p.untyped_storage().data_ptr() for p in policy.model.parameters()}
        self._alive: list[Any] = []
        self.bytes: Counter[Kind] = Counter()
        self.calls: Counter[Kind] = Counter()

    @contextmanager
    def open(self) -> Iterator[None]:
        hooks = [layer.register_forward_pre_hook(partial(self._enter, kind)) for layer, kind in self.kinds.items()]
        hooks += [layer.register_forward_hook(self._leave) for layer in self.kinds]
        try:
            with saved_tensors_hooks(self._pack, lambda tensor: tensor):
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, kind: Kind, *_: Any) -> None:
        self._running.append(kind)
        self.calls[kind] += 1

    def _leave(self, *_: Any) -> None:
        self._running.pop()

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._known.add(storage.data_ptr())
            self._alive.append(storage)  # its address is not used again
            self.bytes[self._running[-1]] += storage.nbytes()
        return tensor

    def by_layer(self) -> dict[Kind, int]:
        """The mean of the layers of each kind."""
        return {kind: self.bytes[kind] // max(1, self.calls[kind]) for kind in {OUTSIDE, *self.kinds.values()}}


def measure(policy: Policy, layers: Mapping[Kind, int], prompt: Prompt, tokens: int) -> Footprint:
    """The footprint of a page and of completions of `tokens` tokens.

    Args:
        policy: with few layers, see `cut_layers`, and without recomputation.
        layers: how many layers of each kind the whole model has.
    """
    kinds = kinds_of(policy.model, policy.base.config)
    reading = _Ledger(policy, kinds)
    with reading.open():
        state = policy.read(prompt, grad=True)
    rows = []
    for count in (1, 2):
        ledger = _Ledger(policy, kinds)
        ids = torch.full((count, tokens), policy.end_ids[0])
        ledger._known |= {t.untyped_storage().data_ptr() for t in state.tensors()}
        with ledger.open():
            kept = policy.hidden(state, ids[:, :-1])  # noqa: F841 - its graph is what is counted
        rows.append(ledger.by_layer())
    cached = sum(t.nbytes for layer in state.layers for t in layer_tensors(layer))
    depth = sum(count for kind, count in layers.items() if kind in _decoder_kinds(policy, kinds))
    return Footprint(
        prompt_tokens=len(prompt),
        read=reading.by_layer(),
        row={kind: rows[1][kind] - rows[0][kind] for kind in rows[0]},
        once={kind: max(0, 2 * rows[0][kind] - rows[1][kind]) for kind in rows[0]},
        layers={**layers, OUTSIDE: 1},
        width=policy.hidden_size * state.last_hidden.element_size(),
        cache_token=cached * depth // (len(state.layers) * len(prompt)),
        vocabulary=policy.head.weight.shape[0],
    )


def _decoder_kinds(policy: Policy, kinds: Mapping[nn.Module, Kind]) -> set[Kind]:
    decoder = {*policy.base.get_decoder().modules()}
    return {kind for layer, kind in kinds.items() if layer in decoder}

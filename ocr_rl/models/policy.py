"""The policy: a vision-language model and its processor, and the log probabilities of completions.

A page is read once (`Policy.read`: vision tower and prompt) and its G completions continue from the cached keys
and values, in training and in generation. The gradients of all completions are summed in that cache and flow through
the prompt and the tower once (`PromptState.backward`), so nothing that is the same for all G is computed G times.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers.decoders import DecodeStream
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForImageTextToText, GenerationConfig
from transformers.cache_utils import DynamicCache
from transformers.utils import logging as transformers_logging

from ocr_rl import distributed
from ocr_rl.config.embedded import NAMES, model_folder
from ocr_rl.config.presets import IN_SPECIAL_TOKENS, PromptFormat
from ocr_rl.models.checkpoints.adapters import ADAPTER, base_of, check_adapter, restore, store_base, with_lora
from ocr_rl.models.checkpoints.files import check_files, check_weights
from ocr_rl.models.checkpoints.loading import check_model, load_error, pixel_budget, token_ids, vision_tower
from ocr_rl.models.checkpoints.options import attention_error, keep_packed, load_options
from ocr_rl.models.checkpoints.processors import load_processor
from ocr_rl.models.checkpoints.safetensors_io import disk_errors
from ocr_rl.models.checkpoints.vocabulary import special_tokens
from ocr_rl.models.kv_cache import Layer, cache_of, empty_layers, layer_of, layer_tensors
from ocr_rl.models.logprobs import entropy, token_logprobs
from ocr_rl.models.output_logits import Logits, after_head
from ocr_rl.models.prompt import Prompt, PromptState, TokenScores
from ocr_rl.models.prompt_format import chat_template, prompt_format, save
from ocr_rl.models.reading_ahead import Readers
from ocr_rl.models.recompute import RecomputedCache, recompute_layers
from ocr_rl.models.sharding import Shards
from ocr_rl.models.step_pages import Inputs, StepPages
from ocr_rl.types import ImageError

if TYPE_CHECKING:
    from ocr_rl.config.schema import ModelConfig
    from ocr_rl.types import Page

LOGITS_PER_CHUNK = 2**24
"""Logits in memory at a time while scoring: 64 MiB in float32.

512 completion tokens with a vocabulary of 150,000 take, forward and backward on a CPU, 10.2 CPU seconds and 1,221 MiB
with 2^22, 6.5 and 439 with 2^24, 7.7 and 1,022 with 2^26 (scripts/bench/logit_chunks.py).
"""


class Policy:
    """A `transformers` image-text-to-text model that transcribes pages.

    Attributes:
        model: the Hugging Face model, wrapped by peft when LoRA is on.
        end_ids: every token that ends a completion.
        suppressed_ids: special image tokens, never sampled and with probability 0 in training.
        prompt_format: how the model is asked for a page, and what it answers in.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        max_pixels: int | None = None,
        compute_dtype: torch.dtype = torch.float32,
        gradient_checkpointing: bool = False,
        source: str = "",
        prompt_format: PromptFormat = PromptFormat(),
        mesh: Any = None,
        offload: bool = False,
    ) -> None:
        """With a `mesh` of processes (`mesh_of`), they divide the weights, which only the first one needs to have.

        With `offload` each keeps its part in the machine's memory.
        """
        self.model = model
        self.processor = processor
        self.source = source
        self.prompt_format = prompt_format
        self.compute_dtype = compute_dtype
        self.recomputes = gradient_checkpointing
        self.step_pages = StepPages()
        self.readers = Readers()
        """Both are shared with copies of this policy, which read pages alike."""
        self.find_parts()
        self.shards: Shards | None = None
        self.run: Callable[..., Any] = _call
        """Calls a function that uses weights; if these are divided, they are gathered first."""
        self.budget = pixel_budget(processor, max_pixels, prompt_format.longest_side or None)
        generation, tokenizer = self.base.generation_config, processor.tokenizer
        self.end_ids = token_ids(generation.eos_token_id) or token_ids(tokenizer.eos_token_id)
        if not self.end_ids:
            raise ValueError(f"{source}: no end token in generation_config.json or the tokenizer; add eos_token_id")
        more = [tokenizer.get_vocab().get(token) for token in prompt_format.end_tokens]
        self.end_ids += [i for i in more if i is not None and i not in self.end_ids]
        pad = token_ids(generation.pad_token_id) or token_ids(tokenizer.pad_token_id)
        self.pad_id = (pad or self.end_ids)[0]
        # a checkpoint's sampling settings are never used, and may be something that transformers refuses to save
        self.base.generation_config = GenerationConfig(eos_token_id=self.end_ids, pad_token_id=self.pad_id)
        self.suppressed_ids = self._special_image_ids()
        for module in model.modules():  # no dropout: the ratio compares the policy with itself
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        model.eval()
        if gradient_checkpointing:
            recompute_layers(self.base)
        if mesh is not None:
            self.shards = Shards(self, mesh, offload=offload)
        self.after_head = self._after_head()
        if self.shards is not None:
            self.shards.drop()

    def find_parts(self) -> None:
        """The parts of `model` that are called."""
        self.base: Any = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        self.backbone: Any = self.base.model
        self.head: Any = self.base.get_output_embeddings()

    def alone(self) -> AbstractContextManager[None]:
        """While this lasts, this process computes without the others: it has all weights. All processes enter it."""
        return nullcontext() if self.shards is None else self.shards.gathered()

    @classmethod
    def load(
        cls,
        config: ModelConfig,
        device: str | torch.device | None = None,
        mesh: Any = None,
        *,
        offload: bool = False,
    ) -> Policy:
        """Load from a folder, a hub id, or an embedded policy.

        A folder with `adapter_config.json` is a LoRA adapter: its base model is loaded first. With a `mesh` of
        processes, they divide the weights, and only the first reads them, into the CPU's memory, where with `offload`
        each keeps its part.

        Raises:
            ValueError: no model can be loaded from there; the message says what to write instead.
        """
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        wanted = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        auto = torch.bfloat16 if device.type == "cuda" else torch.float32
        compute = auto if config.compute_dtype == "auto" else wanted[config.compute_dtype]
        path = model_folder(config.path)
        adapter = Path(path) / ADAPTER
        base = path
        check_files(Path(path))
        if adapter.is_file():
            saved = json.loads(adapter.read_text())
            check_adapter(config, saved)
            base = base_of(Path(path), saved)
            base = model_folder(base)
            check_files(Path(base))
        frozen_base = bool(config.lora_rank) or adapter.is_file()
        if config.quantize and not frozen_base:
            raise ValueError(
                f'model.quantize is "{config.quantize}", but all weights are trained; write "", or model.lora_rank = 16'
            )
        options = load_options(config, compute, device)
        if mesh is not None:
            device = torch.device("cpu" if distributed.first() else "meta")
            options |= {} if distributed.first() else {"device_map": "meta"}
        try:
            model, found = AutoModelForImageTextToText.from_pretrained(
                base,
                dtype=compute if frozen_base else torch.float32,
                trust_remote_code=config.trust_remote_code,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # refused by name
                output_loading_info=True,
                **options,
            )
            check_weights(found)
            processor = load_processor(path, trust_remote_code=config.trust_remote_code)
        except (OSError, ValueError, KeyError, ImportError) as error:
            if message := attention_error(config, error):
                raise ValueError(message) from None
            first = load_error(error, base)
            raise ValueError(
                f'model.path "{config.path}": {first}; give a folder with config.json and *.safetensors, '
                f"a Hugging Face hub id of an image-text-to-text model, {NAMES}"
            ) from None
        keep_packed(model)
        asked = prompt_format(config, model.config, [path, base])
        processor.chat_template = chat_template(config, asked, processor)
        check_model(model, processor, config.path)
        frozen = vision_tower(model) if config.freeze_vision else None
        if adapter.is_file() or config.lora_rank:
            model = with_lora(model, config, Path(path) if adapter.is_file() else None)
        if frozen is not None:  # with what an adapter has put into it
            frozen.requires_grad_(False)
        return cls(
            model.to(device),
            processor,
            max_pixels=config.max_pixels or None,
            compute_dtype=compute,
            gradient_checkpointing=config.gradient_checkpointing,
            source=path,
            prompt_format=asked,
            mesh=mesh,
            offload=offload,
        )

    @property
    def device(self) -> torch.device:
        """Where it computes. Weights may be elsewhere: see `Shards`."""
        device: torch.device = self.head.weight.device if self.shards is None or self.dropped else self.shards.device
        return device

    @property
    def hidden_size(self) -> int:
        """D."""
        size: int = self.head.weight.shape[1]
        return size

    def trainable_parameters(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def prompt(self, page: Page) -> Prompt:
        """The page image fitted to the pixel budget, and the instruction, in the model's chat format."""
        inputs = self.step_pages.get(page)
        if inputs is None:
            with torch.inference_mode(False):  # the learner may use what the engine has read
                inputs = self.readers.take(page) or self.process(page)
                self.step_pages.put(page, inputs)
        return Prompt(inputs)

    def prompt_ids(self, page: Page) -> list[int]:
        """The token ids of `prompt`, which need no weights."""
        return self.prompt(page).token_ids

    def process(self, page: Page) -> Inputs:
        """Read the page: its inputs, on the CPU."""
        text = self._chat_text(page)
        inputs = self.processor(
            text=[text], images=[self.budget.fit(page.image)], return_tensors="pt", **self._tokenizing(text)
        )
        inputs.pop("attention_mask", None)
        return dict(inputs)

    def _after_head(self) -> Logits:
        """What the model does with its head's output, from one forward pass of one token.

        Raises:
            ValueError: something else than capping or scaling, or NaN.
        """
        ids = torch.tensor([self.end_ids[:1]], device=self.device)
        with torch.no_grad(), self.autocast():
            logits = self.run(lambda: self.base.forward(input_ids=ids, use_cache=False).logits.float())
            head = self.run(lambda: self.head(self.backbone(input_ids=ids, use_cache=False).last_hidden_state).float())
        if not logits.isfinite().any():
            raise ValueError(f"{self.source}: its logits are not finite: its weights hold NaN or infinity")
        tolerance = 1e-4 if self.compute_dtype == torch.float32 else 2e-2
        found = after_head(self.base.config.get_text_config(), head, logits, tolerance)
        if found is None:
            raise ValueError(
                f"{self.source}: the logits of {type(self.base).__name__} are not its output layer's, nor these capped "
                "or scaled as its config says; this model cannot be trained here"
            )
        return found

    def unexpanded_ids(self, page: Page) -> list[int]:
        """The prompt's token ids with one token for the image, for engines that process images themselves."""
        text = self._chat_text(page)
        ids: list[int] = self.processor.tokenizer(text, **self._tokenizing(text))["input_ids"]
        return ids

    def _tokenizing(self, text: str) -> dict[str, bool]:
        """The tokenizer adds no BOS where the chat template has written it."""
        bos = self.processor.tokenizer.bos_token
        return {"add_special_tokens": False} if bos and text.startswith(bos) else {}

    def _chat_text(self, page: Page) -> str:
        asked = self.prompt_format
        prompt = page.prompt or asked.prompt
        for token in self.refused_tokens if prompt else ():
            if token in prompt:
                raise ImageError(page.id, f'its prompt holds "{token}", a special token of the model; leave it out')
        messages = asked.messages(page.prompt)
        text: str = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return text

    @cached_property
    def refused_tokens(self) -> list[str]:
        """The texts that the tokenizer reads as ends or images, which no prompt may hold.

        Other special tokens too, unless the output format is written in them: then the prompt may be as well.
        """
        tokenizer = self.processor.tokenizer
        tokens = special_tokens(tokenizer)
        ids = tokenizer.convert_tokens_to_ids(tokens)
        free = self.writes_special_tokens
        return [token for token, i in zip(tokens, ids, strict=True) if i in self.control_ids or not free]

    @cached_property
    def control_ids(self) -> frozenset[int]:
        """Tokens that are never part of a text: ends, padding, images."""
        tokenizer = self.processor.tokenizer
        named = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id)
        return frozenset({*self.end_ids, self.pad_id, *self.suppressed_ids, *(i for i in named if i is not None)})

    @property
    def writes_special_tokens(self) -> bool:
        """Whether special tokens are part of its texts, as its output format may be written in them."""
        return self.prompt_format.output in IN_SPECIAL_TOKENS

    def read(self, prompt: Prompt, *, grad: bool = False) -> PromptState:
        """Run vision tower and prompt once. With `grad`, call `backward()` of the result after its completions."""
        layers = empty_layers(self.base.config)
        with torch.set_grad_enabled(grad), self.autocast():
            if hasattr(self.backbone, "rope_deltas"):  # the offset of the page before
                self.backbone.rope_deltas = None
            output = self.run(
                self.backbone,
                **{name: value.to(self.device) for name, value in prompt.inputs.items()},
                past_key_values=self._cache(lambda i: copy.deepcopy(layers[i]), len(layers)),
                use_cache=True,
            )
        filled = output.past_key_values.layers
        attached = [layer_tensors(layer) for layer in filled]
        last_hidden = output.last_hidden_state[:, -1:]
        delta = getattr(self.backbone, "rope_deltas", None)
        return PromptState(
            layers=[
                layer_of(layer, [t.detach().requires_grad_(grad) for t in tensors])
                for layer, tensors in zip(filled, attached, strict=True)
            ],
            last_hidden=last_hidden.detach().requires_grad_(grad),
            length=len(prompt),
            next_position=len(prompt) + (int(delta.flatten()[0]) if delta is not None else 0),
            outputs=(*(t for tensors in attached for t in tensors), last_hidden) if grad else (),
        )

    def _cache(self, start: Callable[[int], Layer], length: int) -> DynamicCache:
        """A cache of `length` layers that start as `start(layer)` does, again when they are recomputed."""
        return RecomputedCache(start, length) if self.recomputes else cache_of([start(i) for i in range(length)])

    def score(self, state: PromptState, ids: Tensor, mask: Tensor, temperature: float) -> TokenScores:
        """Log probabilities of completions of one page, at the sampling temperature.

        Args:
            state: the page, from `read`.
            ids, mask: (B, T) on the CPU, padded on the right.
        """
        return self.score_hidden(self.hidden(state, ids[:, :-1]), ids, mask, temperature)

    def hidden(self, state: PromptState, ids: Tensor) -> Tensor:
        """Last hidden states before each token and after the last: (B, S) on the CPU -> (B, S + 1, D)."""
        rows, width = ids.shape
        if not width and self.shards is not None:  # every pass uses all of the divided weights
            return self.hidden(state, torch.full((rows, 1), self.pad_id))[:, :1]
        hidden = state.last_hidden.expand(rows, 1, -1)
        if width:
            cache = self._cache(lambda i: _expanded(state.layers[i], rows), len(state.layers))
            positions = torch.arange(state.next_position, state.next_position + width).expand(rows, -1)
            rest = self.decode(ids.to(self.device), positions.to(self.device), cache)
            cache.layers.clear()  # what was appended is not needed, or is recomputed
            hidden = torch.cat([hidden, rest.to(hidden.dtype)], dim=1)
        return hidden

    def decode(
        self, ids: Tensor, positions: Tensor, cache: DynamicCache, attention_mask: Tensor | None = None
    ) -> Tensor:
        """Continue from a cache: token ids and positions (B, S) -> hidden states (B, S, D).

        `attention_mask` (B, N) is True where the tokens attend to one of the N then cached; None: to all.
        """
        with self.autocast():
            output = self.run(
                self.backbone,
                input_ids=ids,
                position_ids=positions,
                attention_mask=attention_mask,
                past_key_values=cache,
                use_cache=True,
            )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def logits(self, hidden: Tensor, temperature: float) -> Tensor:
        """(..., D) -> (..., V) in float32, divided by the temperature; -inf for suppressed tokens."""
        with self.autocast():
            logits: Tensor = self.head(hidden)
        logits = self.after_head(logits.float()) / temperature
        if self.suppressed_ids:
            suppressed = torch.tensor(self.suppressed_ids, device=logits.device)
            logits = logits.index_fill(-1, suppressed, -torch.inf)
        return logits

    def score_hidden(self, hidden: Tensor, ids: Tensor, mask: Tensor, temperature: float) -> TokenScores:
        """Logits of completion positions only, in chunks; several chunks are recomputed in the backward pass."""
        where = mask.flatten().nonzero().squeeze(1)  # on the CPU, so that the device is not synchronised
        at = where.to(self.device, non_blocking=True)
        tokens = ids.flatten()[where].to(self.device, non_blocking=True)
        states = hidden.flatten(0, 1).index_select(0, at)

        logprobs, entropies = (
            torch.zeros(mask.numel(), device=self.device).index_copy(0, at, values).view(mask.shape)
            for values in self.run(self._token_scores, states, tokens, temperature)
        )
        return TokenScores(logprobs, entropies, hidden)

    def _token_scores(self, states: Tensor, tokens: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Log probabilities (N,) and entropies (N,) from the states (N, D) before N tokens."""

        def score(states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
            logits = self.logits(states, temperature)
            return token_logprobs(logits, tokens), entropy(logits.detach())

        size = max(1, LOGITS_PER_CHUNK // self.head.weight.shape[0])
        if len(states) <= size or not torch.is_grad_enabled():
            parts = [score(s, t) for s, t in zip(torch.split(states, size), torch.split(tokens, size), strict=True)]
        else:
            parts = [
                checkpoint(score, s, t, use_reentrant=False)
                for s, t in zip(torch.split(states, size), torch.split(tokens, size), strict=True)
            ]
        logprobs, entropies = zip(*parts, strict=True)
        return torch.cat(logprobs), torch.cat(entropies)

    def text(self, token_ids: Sequence[int]) -> str:
        """The decoded tokens without special ones; without `control_ids` where the output format is written in them."""
        kept = self.writes_special_tokens
        ids = [i for i in token_ids if i not in self.control_ids] if kept else token_ids
        text: str = self.processor.tokenizer.decode(ids, skip_special_tokens=not kept)
        return text

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """What each token adds to the text. A character of several tokens is added by its last one."""
        backend = getattr(self.processor.tokenizer, "backend_tokenizer", None)
        if backend is None:
            return [self.text([token]) for token in token_ids]
        kept = self.writes_special_tokens
        stream = DecodeStream(skip_special_tokens=not kept)
        return ["" if kept and i in self.control_ids else stream.step(backend, i) or "" for i in token_ids]

    def copy(self) -> Policy:
        """A separate policy with the same weights."""
        other = copy.copy(self)
        if self.shards is not None:
            other.shards = self.shards.copy_for(other)
            return other
        other.model = copy.deepcopy(self.model)
        other.find_parts()
        return other

    def merged(self) -> Policy:
        """The policy with its adapter added to the weights, in place; this one cannot be used any more."""
        if self.base is self.model:
            return self
        other = copy.copy(self)
        other.model = self.model.merge_and_unload(safe_merge=True)
        other.find_parts()
        return other

    @property
    def dropped(self) -> bool:
        """Whether `drop_weights` was called."""
        return bool(self.head.weight.device.type == "meta")

    def drop_weights(self) -> None:
        """Free the weights of this policy and of those that share them. Making prompts and decoding still work."""
        cuda = self.device.type == "cuda"
        self.model.to("meta")
        if cuda:
            torch.cuda.empty_cache()

    def with_own_processor(self) -> Policy:
        """This policy for another thread: two threads must not use one tokenizer."""
        other = copy.copy(self)
        other.processor = copy.deepcopy(self.processor)
        return other

    def frozen_copy(self) -> Policy:
        """A copy that training does not touch: the reference policy of a KL term."""
        other = self.copy()
        other.model.requires_grad_(False)
        return other

    def gathered_weights(self) -> dict[str, Tensor] | None:
        """If they are divided, the weights to `save`; all processes call this, and only the first gets them."""
        return None if self.shards is None else self.shards.weights(adapter=self.base is not self.model)

    def save(self, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
        """Write a plain Hugging Face folder: safetensors (or the adapter), config, tokenizer, processor.

        `weights` are those of `gathered_weights`.
        """
        shown = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()  # it would disturb the trainer's
        with disk_errors(folder):
            self.model.save_pretrained(folder, **({} if weights is None else {"state_dict": weights}))
        if self.base is not self.model:
            store_base(folder)
        self.processor.save_pretrained(folder)
        save(self.prompt_format, folder)
        if shown:
            transformers_logging.enable_progress_bar()
        for file in folder.glob("*.safetensors"):  # safetensors makes them readable by the owner only
            file.chmod((folder / "tokenizer_config.json").stat().st_mode)

    def load_weights(self, folder: Path) -> None:
        """Load in place what `save` wrote, bit for bit: trained weights are float32 in memory and on disk."""
        if self.base is not self.model:
            restore(self.model, folder)
            return
        saved = type(self.model).from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        if self.shards is None:
            self.model.load_state_dict(saved.state_dict())
        else:
            self.shards.load(saved.state_dict())

    def autocast(self) -> Any:
        if self.compute_dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.compute_dtype)

    def _special_image_ids(self) -> tuple[int, ...]:
        """Tokens that a transcription cannot contain: a sampled image token has no pixels."""
        config, processor = self.base.config, self.processor
        names = ("image", "video", "vision_start", "vision_end", "image_break", "image_end")
        ids = {getattr(owner, f"{name}_token_id", None) for owner in (config, processor) for name in names}
        return tuple(sorted({i for i in ids if isinstance(i, int)} - set(self.end_ids)))


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def _expanded(layer: Layer, rows: int) -> Layer:
    """A layer of one page for `rows` completions, without a copy."""
    return layer_of(layer, [t.expand(rows, *t.shape[1:]) for t in layer_tensors(layer)])

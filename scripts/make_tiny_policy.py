"""Train the embedded policy `tiny` from random weights on invented pages.

    python scripts/make_tiny_policy.py --out runs/tiny --minutes 60
    python scripts/make_tiny_policy.py --out runs/tiny --minutes 30          # again: resumes
    python scripts/make_tiny_policy.py --out runs/more --start ocr_rl/models/tiny --level 14  # continue
    python scripts/make_tiny_policy.py --out runs/tiny --export ocr_rl/models/tiny  # bfloat16, ready to ship
    python scripts/make_tiny_policy.py --out runs/scans --start ocr_rl/models/tiny --scans --mistakes 0.15
    python scripts/make_tiny_policy.py --out runs/scans --pack scripts/tiny_policy/checkpoint.safetensors
    python scripts/make_tiny_policy.py --out runs/scans --start runs/grpo/checkpoints/step_000150 --export FOLDER

`--pack` writes the weights in bfloat16: copied to `runs/scans/state.safetensors`, they resume. The last command ships
what `ocr-rl train` has made of the policy. SIGTERM ends training after the step, with the state saved.

Under `torchrun --nproc-per-node 2` two processes draw different pages and average their gradients, so that `--batch`
is that of each.

With `--scans` the pages are those of `tiny_policy/scans.py`, mixed with rendered ones, and nothing else changes; which
word lists and faces that takes is said in `tiny_policy/lexicons.py` and `faces.py`, and how far it got in
`tiny_policy/README.md`. A policy to start from may be smaller: layers that it lacks begin as the identity.

The only hard part is the plateau before the model looks at the image at all: it learns a character language
model first and stays there. What shortens it:

- The renderer knows where each character stands. An auxiliary head, thrown away afterwards, names the character
  at the centre of each patch, and the tower learns from that alone until it reads.
- Text then grows with what can be read: a character, a line, lines of 72 characters, pages of six lines.
- Unguessable strings are mixed in.
- A part of the characters that the decoder has read so far is replaced by wrong ones (`--mistakes`), so that its own
  mistakes do not derail it when it reads alone.
- Weights start at 1 / sqrt(fan in) (transformers' 0.02 leaves narrow layers nearly silent), and matrices are
  trained with Muon: twice the patches named after the same 150 steps as with AdamW at its best rate.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import time
from multiprocessing import Value
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_policy.muon import Muon
from tiny_policy.scans import Scans
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import (
    LightOnOcrConfig,
    LightOnOcrForConditionalGeneration,
    LightOnOcrProcessor,
    PixtralImageProcessorPil,
    PreTrainedTokenizerFast,
)

from ocr_rl.data.synthetic.render import Layout, Style, render_page
from ocr_rl.data.synthetic.typefaces import ALPHABET
from ocr_rl.models.pixels import PixelBudget

BUDGET = PixelBudget(multiple=16, longest_edge=640, line_height=48, page_pixels=48_000)
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<image>", "<image_break>", "<image_end>"]
PAD, UNK, BOS, EOS, IMAGE = range(5)
IGNORED = -100
HEAD = 64
PATCH = 8
BLANK = IMAGE
"""What the auxiliary head calls a patch without a character's centre."""

PAGE = Style(font_size=(10, 16), paper=(190, 255), ink=(0, 100))
LINE = Style(
    font_size=(11, 26),
    paper=(190, 255),
    ink=(0, 100),
    blur=(0, 1.0),
    noise=(0, 10),
    jitter=0.05,
    remnants=0.3,
)

TOWER = [(Layout(lines=(1, 3), characters=(6, 16), random_strings=0.3), PAGE)]
CHARACTERS = [(Layout(lines=(1, 1), characters=(1, n), random_strings=0.4), PAGE) for n in (1, 2, 3, 4, 6, 8, 12)]
BEYOND = [
    (Layout(lines=(1, lines), characters=(least, most), random_strings=0.3), style)
    for lines, least, most, style in (
        (1, 2, 24, PAGE),
        (2, 6, 14, PAGE),
        (1, 4, 72, LINE),
        (1, 20, 72, PAGE),
        (3, 8, 20, PAGE),
        (4, 10, 26, PAGE),
        (6, 12, 32, PAGE),
    )
]
LEVELS = TOWER + CHARACTERS + BEYOND
"""What a page holds, from easy to hard. Level 0 trains the tower alone."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token per character, line breaks included."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, "\n", *ALPHABET])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?m)."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="left",
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
        extra_special_tokens={
            "image_token": "<image>",
            "image_break_token": "<image_break>",
            "image_end_token": "<image_end>",
        },
    )
    fast.chat_template = (
        "{% for message in messages %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image>{% endif %}"
        "{% endfor %}{% endfor %}<s>"
    )
    return fast


def make_processor() -> LightOnOcrProcessor:
    image_processor = PixtralImageProcessorPil(
        size={"longest_edge": BUDGET.longest_edge},
        patch_size={"height": 16, "width": 16},
        image_mean=[0.75] * 3,
        image_std=[0.25] * 3,
        line_height=BUDGET.line_height,
        page_pixels=BUDGET.page_pixels,
    )
    tokenizer = make_tokenizer()
    return LightOnOcrProcessor(
        image_processor, tokenizer, patch_size=8, spatial_merge_size=2, chat_template=tokenizer.chat_template
    )


def make_model(vision: tuple[int, int], text: tuple[int, int]) -> LightOnOcrForConditionalGeneration:
    """Random weights; `vision` and `text` are (width, layers), widths in multiples of the head size."""
    vocabulary = len(make_tokenizer())
    config = LightOnOcrConfig(
        spatial_merge_size=2,
        image_token_id=IMAGE,
        tie_word_embeddings=False,
        vision_config={
            "hidden_size": vision[0],
            "intermediate_size": feed_forward(vision[0]),
            "num_attention_heads": vision[0] // HEAD,
            "num_hidden_layers": vision[1],
            "head_dim": HEAD,
            "patch_size": PATCH,
            "image_size": 640,
        },
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": text[0],
            "intermediate_size": feed_forward(text[0]),
            "num_attention_heads": text[0] // HEAD,
            "num_key_value_heads": 1,
            "num_hidden_layers": text[1],
            "head_dim": HEAD,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": False,
            "bos_token_id": BOS,
            "eos_token_id": EOS,
            "pad_token_id": PAD,
        },
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    model = LightOnOcrForConditionalGeneration(config)
    model.generation_config.update(eos_token_id=EOS, pad_token_id=PAD, bos_token_id=BOS)
    return model


def feed_forward(width: int) -> int:
    return 8 * width // 3 // 32 * 32


class Batches(IterableDataset):
    """Endless batches of pages of similar size. Pool i depends on `seed`, i and the level only. Processes
    that train together share out the batches of each, so that all do about the same work in a step.

    With `scans`, half are scanned lines, 43 % rendered lines and pages, the others scanned pages.
    """

    def __init__(self, batch: int, level: Any, seed: str, start: int = 0, scans: Scans | None = None) -> None:
        self.batch, self.level, self.seed, self.start, self.scans = batch, level, seed, start, scans
        self.rank, self.ranks = rank_of()
        self.codes = {c: i for i, c in enumerate("\n" + ALPHABET, start=len(SPECIAL))}

    def __iter__(self):
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        if worker:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun sends it to them too
        torch.set_num_threads(1)
        i = self.start + number
        while True:
            yield from self.pool(i)
            i += count

    def pool(self, i: int) -> list[dict[str, torch.Tensor]]:
        """Batches of pages of similar size, in random order: `batch` pages of 112 x 272 pixels, more smaller ones."""
        rng = Random(f"{self.seed}:{i}")
        level = self.level.value
        pages = []
        for j in range(8 * self.batch):
            seed, kind = f"{self.seed}:{i}:{j}", rng.random()
            # a third of the pages at the frontier while there is one, the rest spread over what came before
            frontier = 0 < level < len(LEVELS) - 1 and rng.random() < 0.35
            k = level if frontier else math.ceil(level * math.sqrt(rng.random()))
            if self.scans is None:
                page = render_page(seed, *LEVELS[k])
            elif kind < 0.50:
                page, k = self.scans.line(seed), level
            elif kind < 0.57:
                page, k = self.scans.page(seed), -1
            else:
                page, k = render_page(seed, *LEVELS[-1 - rng.choice((0, 0, 0, 1, 2, 3, 3, 4))]), -1
            image = np.asarray(BUDGET.fit(page.image).convert("L"))
            patches = self.patches(page.centers, page.image.size, image.shape)
            pages.append((image.shape, j, image, page.text, k == level, patches))
        pages.sort(key=lambda page: (page[0][0] // (16 if page[0][0] <= 64 else 64), page[0][1], page[1]))
        groups: list[list[tuple]] = [[]]
        for page in pages:
            height, width = (max(p[0][axis] for p in [*groups[-1], page]) for axis in (0, 1))
            if (len(groups[-1]) + 1) * height * width > self.batch * 112 * 272 and groups[-1]:
                groups.append([])
            groups[-1].append(page)
        for _ in range(len(groups) % self.ranks):
            groups.pop(rng.randrange(len(groups)))
        steps = [groups[k : k + self.ranks] for k in range(0, len(groups), self.ranks)]
        rng.shuffle(steps)
        return [self.collate(step[self.rank]) for step in steps]

    def patches(self, centers: tuple, size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
        """The character at the centre of each patch of the fitted image."""
        targets = np.full((shape[0] // PATCH, shape[1] // PATCH), BLANK, dtype=np.int64)
        for character, x, y in centers:
            row, column = int(y * shape[0] / size[1]) // PATCH, int(x * shape[1] / size[0]) // PATCH
            if character != " " and row < targets.shape[0] and column < targets.shape[1]:
                targets[row, column] = self.codes[character]
        return targets

    def collate(self, pages: list[tuple]) -> dict[str, torch.Tensor]:
        height, width = (max(p[0][axis] for p in pages) for axis in (0, 1))
        longest = max(len(p[3]) for p in pages)
        pixels = np.empty((len(pages), height, width), dtype=np.uint8)
        ids = np.full((len(pages), longest + 2), PAD)
        patches = np.full((len(pages), height // PATCH, width // PATCH), BLANK, dtype=np.int64)
        for row, (shape, _, image, text, _, known) in enumerate(pages):
            patches[row, : known.shape[0], : known.shape[1]] = known
            pixels[row] = np.median(image)
            pixels[row, : shape[0], : shape[1]] = image
            ids[row, : len(text) + 2] = [BOS, *(self.codes[c] for c in text), EOS]
        frontier = torch.tensor([p[4] for p in pages])
        arrays = {"pixels": pixels, "ids": ids, "patches": patches}
        return {name: torch.from_numpy(array) for name, array in arrays.items()} | {"frontier": frontier}


def rank_of() -> tuple[int, int]:
    """This process's number and how many there are, as torchrun says."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def reduced(tensor: torch.Tensor, op: Any = dist.ReduceOp.SUM) -> torch.Tensor:
    """The sum, or whatever `op` is, over all processes; in place."""
    if dist.is_initialized():
        dist.all_reduce(tensor, op)
    return tensor


def average_gradients(model: torch.nn.Module) -> None:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    mean = reduced(torch.cat([g.flatten() for g in gradients])) / dist.get_world_size()
    for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def embed(model: LightOnOcrForConditionalGeneration, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, H, W) grey bytes of one size -> image tokens (B, N, D) and the tower's patches (B, 4N, D').

    The model's own path for mixed sizes masks one long sequence of all patches; one size needs no mask.
    """
    tower, projector = model.model.vision_encoder, model.model.vision_projection
    values = ((pixels.float() / 255 - 0.75) / 0.25).unsqueeze(1).repeat(1, 3, 1, 1)
    patches = tower.patch_conv(values)
    rows, columns = patches.shape[-2:]
    x = tower.ln_pre(patches.flatten(2).transpose(1, 2))
    grid = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).to(pixels.device)
    x = tower.transformer(
        x, attention_mask=None, position_embeddings=tower.patch_positional_embedding(x, grid)
    ).last_hidden_state
    patches = x
    x = projector.norm(x)
    x = x.view(len(x), rows // 2, 2, columns // 2, 2, -1).permute(0, 1, 3, 5, 2, 4)
    x = projector.patch_merger.merging_layer(x.reshape(len(x), rows // 2 * (columns // 2), -1))
    return projector.linear_2(projector.act(projector.linear_1(x))), patches


def fan_in(model: torch.nn.Module) -> None:
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)


def start_from(model: LightOnOcrForConditionalGeneration, trained: Path) -> None:
    """The weights of a policy of the same widths, a folder or a packed file. Layers that it lacks add nothing to what
    passes at first."""
    if trained.is_file():
        tensors = {name: tensor.float() for name, tensor in weights(load_file(trained)).items()}
    else:
        tensors = LightOnOcrForConditionalGeneration.from_pretrained(trained, dtype=torch.float32).state_dict()
    lacking = model.load_state_dict(tensors, strict=False).missing_keys
    for name in lacking:
        if name.endswith(("o_proj.weight", "down_proj.weight", "patch_head.weight")):
            torch.nn.init.zeros_(model.get_parameter(name))
    print(f"{len(lacking)} tensors are new: {', '.join(lacking)}")


def mistaken(ids: torch.Tensor, most: float) -> torch.Tensor:
    """(B, T) with some characters exchanged for others of the batch: none in a third of the rows, up to `most`."""
    rate = most * (1.5 * torch.rand(len(ids), 1, device=ids.device) - 0.5).clamp(min=0)
    others = ids.flatten()[torch.randint(ids.numel(), ids.shape, device=ids.device)]
    wrong = (torch.rand(ids.shape, device=ids.device) < rate) & (ids > IMAGE) & (others > IMAGE)
    return torch.where(wrong, others, ids)


def make_optimizers(
    model: torch.nn.Module, args: argparse.Namespace, dtype: torch.dtype
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings, heads, norms and the patch convolution."""
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        inner = parameter.ndim == 2 and not any(part in name for part in ("embed_tokens", "lm_head", "patch_head"))
        (matrices if inner else rest).append(parameter)
    return [
        Muon(matrices, lr=args.muon_lr, dtype=dtype),
        torch.optim.AdamW(rest, lr=args.adam_lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
    ]


def train(args: argparse.Namespace) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    rank, ranks = rank_of()
    if ranks > 1:
        if device == "cuda":
            torch.cuda.set_device(rank)
        dist.init_process_group("nccl" if device == "cuda" else "gloo")
        torch.set_num_threads(1)
    args.level = len(LEVELS) - 1 if args.scans else args.level
    model = make_model(args.vision, args.text).to(device)
    model.add_module("patch_head", torch.nn.Linear(args.vision[0], len(make_tokenizer())).to(device))
    # without units for it, bfloat16 is emulated at a tenth of the speed
    half = device == "cuda" or torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2")
    if device == "cpu" and (args.compile or not half):
        model.set_attn_implementation("eager")  # faster than the CPU's fused kernel at these sizes
    if args.compile:
        for layer in (*model.model.vision_encoder.transformer.layers, *model.model.language_model.layers):
            layer.compile(dynamic=True)
    fan_in(model)
    level, step = Value("i", args.level), 0
    optimizers = make_optimizers(model, args, torch.bfloat16 if half else torch.float32)
    if (args.out / "state.safetensors").exists():
        step, level.value = resume(args.out, model, optimizers)
        level.value = max(level.value, args.level)
    elif args.start:
        start_from(model, args.start)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    say = print if rank == 0 else lambda *_, **__: None
    say(f"{sum(p.numel() for p in model.parameters()):,} parameters on {device}, step {step}, level {level.value}")
    stream = iter(
        DataLoader(
            Batches(args.batch, level, f"train{args.seed}", step, Scans(*args.fonts) if args.scans else None),
            batch_size=None,
            num_workers=args.workers,
            prefetch_factor=2 if args.workers else None,
            pin_memory=device == "cuda",
        )
    )
    began, first, entered, accuracy = time.time(), step, step, 0.0
    hits: list[torch.Tensor] = []
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    torch.manual_seed(args.seed + rank + ranks * step)  # of the mistakes
    while True:
        clock = [(time.time() - began) / (60 * args.minutes), float(len(stopped))]
        done, stop = reduced(torch.tensor(clock, device=device), dist.ReduceOp.MAX).tolist()
        if done >= 1 or stop:
            break
        step += 1
        rate = min(1, (step - first) / args.warmup) * min(1, (1 - done) / args.cooldown + 0.01)
        for optimizer, peak in zip(optimizers, rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
        batch = {k: v.to(device, non_blocking=True) for k, v in next(stream).items()}
        with torch.autocast(device, torch.bfloat16, enabled=half):
            image, patches = embed(model, batch["pixels"])
            at_patch = model.patch_head(patches).float().flatten(0, 1)
        named = batch["patches"].flatten()
        weight = torch.where(named == BLANK, 0.1, 1.0)
        loss = patch_loss = (cross_entropy(at_patch, named, reduction="none") * weight).sum() / weight.sum()
        known, right = named != BLANK, at_patch.argmax(-1) == named
        if level.value:  # the tower reads: let the decoder look
            with torch.autocast(device, torch.bfloat16, enabled=half):
                text = model.model.language_model.embed_tokens(mistaken(batch["ids"][:, :-1], args.mistakes))
                hidden = model.model.language_model(
                    inputs_embeds=torch.cat([image.to(text.dtype), text], dim=1), use_cache=False
                ).last_hidden_state[:, image.shape[1] :]
                logits = model.lm_head(hidden).float()
            targets = batch["ids"][:, 1:].masked_fill(batch["ids"][:, 1:] == PAD, IGNORED)
            loss = patch_loss + cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
            known, right = (targets != IGNORED) & batch["frontier"][:, None], logits.argmax(-1) == targets
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if ranks > 1:
            average_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        hits.append(torch.stack([(right & known).sum(), known.sum()]))
        if step % 25 == 0:
            good, seen = reduced(torch.stack(hits).sum(0)).tolist()
            recent, hits = good / max(seen, 1), []
            accuracy = recent if step - entered <= 25 else 0.5 * accuracy + 0.5 * recent
            speed = (step - first) / (time.time() - began)
            say(
                f"step {step} level {level.value} loss {loss.item():.3f} patches {patch_loss.item():.3f} "
                f"accuracy {accuracy:.3f} {speed:.2f} steps/s",
                flush=True,
            )
            patient = level.value > len(CHARACTERS) and step - entered >= args.patience
            if level.value < len(LEVELS) - 1 and ((accuracy > 0.8 and step - entered >= 50) or patient):
                level.value += 1
                entered, accuracy = step, 0.0
        if step % args.save_every == 0 and rank == 0:
            save(args.out, model, optimizers, step, level.value)
    if rank == 0:
        save(args.out, model, optimizers, step, level.value)


OPTIMIZER = "optimizer:"


def save(out: Path, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer], step: int, level: int) -> None:
    """Weights, optimisers, step and level in one safetensors file."""
    out.mkdir(parents=True, exist_ok=True)
    tensors = dict(model.state_dict())
    for i, optimizer in enumerate(optimizers):
        for j, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{OPTIMIZER}{i}:{j}:{name}": tensor for name, tensor in state.items()}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, out / "state.tmp", metadata={"step": str(step), "level": str(level)})
    (out / "state.tmp").replace(out / "state.safetensors")


def resume(out: Path, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer]) -> tuple[int, int]:
    """Load what `save` wrote; the optimisers start anew where the file, a packed one, has no state of theirs."""
    tensors = load_file(out / "state.safetensors")
    model.load_state_dict(weights(tensors))
    for i, optimizer in enumerate(optimizers):
        state = optimizer.state_dict()
        for key, tensor in tensors.items():
            if key.startswith(f"{OPTIMIZER}{i}:"):
                _, _, j, name = key.split(":")
                state["state"].setdefault(int(j), {})[name] = tensor
        optimizer.load_state_dict(state)
    with safe_open(out / "state.safetensors", "pt") as file:
        metadata = file.metadata()
    return int(metadata["step"]), int(metadata["level"])


def weights(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(OPTIMIZER)}


def pack(args: argparse.Namespace) -> None:
    """Write the weights in bfloat16, without the state of the optimisers."""
    state = args.out / "state.safetensors"
    with safe_open(state, "pt") as file:
        metadata = file.metadata()
    halved = {name: tensor.bfloat16() for name, tensor in weights(load_file(state)).items()}
    save_file(halved, args.pack, metadata=metadata)


def export(args: argparse.Namespace) -> None:
    """Write the policy as a Hugging Face folder: bfloat16 safetensors, config, tokenizer, processor."""
    if args.start:
        tensors = LightOnOcrForConditionalGeneration.from_pretrained(args.start, dtype=torch.float32).state_dict()
    else:
        tensors = weights(load_file(args.out / "state.safetensors"))
    model = make_model(args.vision, args.text)
    model.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("patch_head.")})
    model.to(torch.bfloat16).save_pretrained(args.export)
    make_processor().save_pretrained(args.export)
    size = sum(f.stat().st_size for f in args.export.iterdir()) / 2**20
    print(json.dumps({"folder": str(args.export), "mebibytes": round(size, 1)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="what to take the weights from, e.g. ocr_rl/models/tiny")
    parser.add_argument("--export", type=Path, help="write the policy, or that of --start, here instead of training")
    parser.add_argument("--pack", type=Path, help="write the weights here in bfloat16 instead of training")
    parser.add_argument("--vision", type=int, nargs=2, default=(128, 3), metavar=("WIDTH", "LAYERS"))
    parser.add_argument("--text", type=int, nargs=2, default=(192, 4), metavar=("WIDTH", "LAYERS"))
    parser.add_argument("--scans", action="store_true", help="train on scans, with rendered pages among them")
    parser.add_argument("--fonts", type=Path, nargs="*", default=[], help="further folders of faces for --scans")
    parser.add_argument("--mistakes", type=float, default=0.0, help="most of the characters read that are made wrong")
    parser.add_argument("--minutes", type=float, default=60, help="train for this long, then save and stop")
    parser.add_argument("--cooldown", type=float, default=0.3, help="last share of the time, in which rates fall to 0")
    parser.add_argument("--warmup", type=int, default=100, help="steps in which rates rise")
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--muon-lr", type=float, default=0.02)
    parser.add_argument("--adam-lr", type=float, default=2e-3)
    parser.add_argument("--level", type=int, default=0, help="start at this level at least")
    parser.add_argument("--patience", type=int, default=300, help="steps on a level at most, the first aside")
    parser.add_argument("--workers", type=int, default=1, help="processes that render")
    parser.add_argument("--compile", action="store_true", help="compile the layers first: a minute or two, then faster")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=200)
    args = parser.parse_args()
    if args.export:
        export(args)
    elif args.pack:
        pack(args)
    else:
        train(args)


if __name__ == "__main__":
    main()

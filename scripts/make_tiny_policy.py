"""Train the embedded policy `tiny` from random weights on invented pages.

    python scripts/make_tiny_policy.py --out runs/tiny                       # a GPU: about 20 minutes
    python scripts/make_tiny_policy.py --out runs/tiny --batch 48 --workers 1   # 2 CPU cores: most of a day
    python scripts/make_tiny_policy.py --out runs/tiny                       # again: resumes
    python scripts/make_tiny_policy.py --out runs/tiny --export ocr_rl/tiny  # bfloat16, ready to ship

The only hard part is the plateau before the model looks at the image at all: it learns a character language
model first and stays there. So text grows with what can be read (a character, a word, a line, lines of 72
characters, pages of six lines), and unguessable strings are mixed in.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from multiprocessing import Value
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
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

from ocr_rl.pixels import PixelBudget
from ocr_rl.render import Layout, Style, render_page
from ocr_rl.typefaces import ALPHABET

BUDGET = PixelBudget(multiple=16, longest_edge=640)
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<image>", "<image_break>", "<image_end>"]
PAD, UNK, BOS, EOS, IMAGE = range(5)
IGNORED = -100

PAGE = Style(font_size=(10, 16), paper=(190, 255), ink=(0, 100))
LINE = Style(font_size=(11, 40), paper=(190, 255), ink=(0, 100), blur=(0, 1.0), noise=(0, 10), jitter=0.05, remnants=0.3)

CHARACTERS = [(Layout(lines=(1, 1), characters=(1, n), random_strings=0.4), PAGE) for n in range(1, 13)]
LINES = [(Layout(lines=(1, 1), characters=(2, n), random_strings=0.3), s) for n in (18, 24, 32, 44, 58, 72) for s in (PAGE, LINE)]
PAGES = [
    (Layout(lines=(1, lines), characters=(6, n), random_strings=0.3), PAGE)
    for lines, n in ((2, 12), (2, 20), (3, 20), (4, 24), (5, 28), (6, 32))
]
LEVELS = CHARACTERS + [level for i in range(6) for level in (*LINES[2 * i : 2 * i + 2], PAGES[i])]


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
    )
    tokenizer = make_tokenizer()
    return LightOnOcrProcessor(
        image_processor, tokenizer, patch_size=8, spatial_merge_size=2, chat_template=tokenizer.chat_template
    )


def make_model(width: int, layers: int) -> LightOnOcrForConditionalGeneration:
    vocabulary = len(make_tokenizer())
    config = LightOnOcrConfig(
        spatial_merge_size=2,
        image_token_id=IMAGE,
        tie_word_embeddings=False,
        vision_config={
            "hidden_size": width,
            "intermediate_size": 8 * width // 3 // 32 * 32,
            "num_attention_heads": width // 32,
            "num_hidden_layers": layers,
            "head_dim": 32,
            "patch_size": 8,
            "image_size": 640,
        },
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": width,
            "intermediate_size": 8 * width // 3 // 32 * 32,
            "num_attention_heads": width // 32,
            "num_key_value_heads": width // 96 if width % 96 == 0 else width // 64,
            "num_hidden_layers": layers,
            "head_dim": 32,
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


class Batches(IterableDataset):
    """Endless batches of pages of similar size. Batch i depends on `seed`, i and the level only."""

    def __init__(self, batch: int, level: Any, seed: str, start: int = 0) -> None:
        self.batch, self.level, self.seed, self.start = batch, level, seed, start
        self.codes = {c: i for i, c in enumerate("\n" + ALPHABET, start=len(SPECIAL))}

    def __iter__(self):
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        torch.set_num_threads(1)
        i = self.start + number
        while True:
            yield from self.pool(i)
            i += count

    def pool(self, i: int) -> list[dict[str, torch.Tensor]]:
        """Four batches, cut from pages sorted by height and width, in random order."""
        rng = Random(f"{self.seed}:{i}")
        level = self.level.value
        pages = []
        for j in range(4 * self.batch):
            # half of the pages at the frontier, the rest spread over what came before
            k = level if rng.random() < 0.35 else int((level + 1) * math.sqrt(rng.random()))
            page = render_page(f"{self.seed}:{i}:{j}", *LEVELS[k])
            image = np.asarray(BUDGET.fit(page.image).convert("L"))
            pages.append((image.shape, j, image, page.text, k == level))
        pages.sort(key=lambda page: page[:2])
        batches = [self.collate(pages[n : n + self.batch]) for n in range(0, len(pages), self.batch)]
        rng.shuffle(batches)
        return batches

    def collate(self, pages: list[tuple]) -> dict[str, torch.Tensor]:
        height, width = (max(p[0][axis] for p in pages) for axis in (0, 1))
        longest = max(len(p[3]) for p in pages)
        pixels = np.empty((len(pages), height, width), dtype=np.uint8)
        ids = np.full((len(pages), longest + 2), PAD)
        for row, (shape, _, image, text, _) in enumerate(pages):
            pixels[row] = np.median(image)
            pixels[row, : shape[0], : shape[1]] = image
            ids[row, : len(text) + 2] = [BOS, *(self.codes[c] for c in text), EOS]
        frontier = torch.tensor([p[4] for p in pages])
        return {"pixels": torch.from_numpy(pixels), "ids": torch.from_numpy(ids), "frontier": frontier}


def embed(model: LightOnOcrForConditionalGeneration, pixels: torch.Tensor) -> torch.Tensor:
    """(B, H, W) grey bytes of one size -> (B, N, D) image tokens, without the block mask of mixed sizes."""
    tower, projector = model.model.vision_encoder, model.model.vision_projection
    values = ((pixels.float() / 255 - 0.75) / 0.25).unsqueeze(1).expand(-1, 3, -1, -1)
    patches = tower.patch_conv(values)
    rows, columns = patches.shape[-2:]
    x = tower.ln_pre(patches.flatten(2).transpose(1, 2))
    grid = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).to(pixels.device)
    x = tower.transformer(
        x, attention_mask=None, position_embeddings=tower.patch_positional_embedding(x, grid)
    ).last_hidden_state
    x = projector.norm(x)
    x = x.view(len(x), rows // 2, 2, columns // 2, 2, -1).permute(0, 1, 3, 5, 2, 4)
    x = projector.patch_merger.merging_layer(x.reshape(len(x), rows // 2 * (columns // 2), -1))
    return projector.linear_2(projector.act(projector.linear_1(x)))


def train(args: argparse.Namespace) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    model = make_model(args.width, args.layers).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=device == "cuda"
    )
    level, step, accuracy = Value("i", args.level), 0, 0.0
    state = args.out / "state.safetensors"
    if state.exists():
        step, level.value = resume(args.out, model, optimizer)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters on {device}; from step {step}, level {level.value}")
    stream = iter(
        DataLoader(
            Batches(args.batch, level, f"train{args.seed}", start=step),
            batch_size=None,
            num_workers=args.workers,
            prefetch_factor=2 if args.workers else None,
            pin_memory=device == "cuda",
        )
    )
    began, since, entered = time.time(), step, step
    accuracies: list[torch.Tensor] = []
    while step < args.steps and time.time() - began < args.seconds:
        step += 1
        warm, cool = min(1, step / 300), min(1, (args.steps - step) / (args.cooldown * args.steps) + 0.02)
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(warm, cool)
        batch = {k: v.to(device, non_blocking=True) for k, v in next(stream).items()}
        with torch.autocast(device, torch.bfloat16):
            image = embed(model, batch["pixels"])
            text = model.model.language_model.embed_tokens(batch["ids"][:, :-1])
            hidden = model.model.language_model(
                inputs_embeds=torch.cat([image.to(text.dtype), text], dim=1), use_cache=False
            ).last_hidden_state[:, image.shape[1] :]
            logits = model.lm_head(hidden).float()
        targets = batch["ids"][:, 1:].masked_fill(batch["ids"][:, 1:] == PAD, IGNORED)
        loss = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            known = (targets != IGNORED) & batch["frontier"][:, None]
            hits = ((logits.argmax(-1) == targets) & known).sum()
            accuracies.append(torch.stack([hits, known.sum()]))
        if step % 25 == 0:
            hits, known = torch.stack(accuracies).sum(0).tolist()
            recent, accuracies = hits / max(known, 1), []
            accuracy = recent if accuracy == 0 else 0.5 * accuracy + 0.5 * recent
            waited = step - entered
            bar = 0.8 if level.value < len(CHARACTERS) else 0.9
            if (accuracy > bar and waited >= 50) or (level.value >= len(CHARACTERS) and waited >= args.patience):
                if level.value < len(LEVELS) - 1:
                    level.value += 1
                    entered, accuracy = step, 0.0
        if step % args.log_every == 0:
            speed = (step - since) / (time.time() - began)
            print(f"step {step} level {level.value} loss {loss.item():.4f} accuracy {accuracy:.3f} {speed:.1f} steps/s", flush=True)
        if step % args.save_every == 0:
            save(args.out, model, optimizer, step, level.value)
    save(args.out, model, optimizer, step, level.value)


def save(out: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int, level: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{k}": v.detach().contiguous() for k, v in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key in ("exp_avg", "exp_avg_sq"):
            tensors[f"{key}.{name}"] = optimizer.state[parameter][key]
    save_file(tensors, out / "state.tmp", metadata={"step": str(step), "level": str(level)})
    (out / "state.tmp").replace(out / "state.safetensors")


def resume(out: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, int]:
    tensors = load_file(out / "state.safetensors")
    with safe_open(out / "state.safetensors", "pt") as file:
        metadata = file.metadata()
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    for name, parameter in model.named_parameters():
        if f"exp_avg.{name}" in tensors:
            optimizer.state[parameter] = {
                "step": torch.tensor(float(metadata["step"]), device=parameter.device),
                **{k: tensors[f"{k}.{name}"].to(parameter.device) for k in ("exp_avg", "exp_avg_sq")},
            }
    return int(metadata["step"]), int(metadata["level"])


def export(args: argparse.Namespace) -> None:
    """Write the policy as a Hugging Face folder: bfloat16 safetensors, config, tokenizer, processor."""
    model = make_model(args.width, args.layers)
    tensors = load_file(args.out / "state.safetensors")
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    model.to(torch.bfloat16).save_pretrained(args.export)
    make_processor().save_pretrained(args.export)
    size = sum(f.stat().st_size for f in args.export.iterdir()) / 2**20
    print(json.dumps({"folder": str(args.export), "mebibytes": round(size, 1)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--export", type=Path)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=30000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop (and save) after this long")
    parser.add_argument("--cooldown", type=float, default=0.4, help="share of the steps over which the rate falls")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--level", type=int, default=0)
    parser.add_argument("--patience", type=int, default=800, help="steps at a level before the next comes anyway")
    parser.add_argument("--workers", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-every", type=int, default=100)
    parser.add_argument("--save-every", type=int, default=1000)
    args = parser.parse_args()
    if args.export:
        export(args)
    else:
        train(args)


if __name__ == "__main__":
    main()

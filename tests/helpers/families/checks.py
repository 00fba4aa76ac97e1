"""What is checked of a family, as the largest difference found.

The tests bound these differences, and scripts/make_model_table.py writes them into docs/models.md.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import torch
from PIL import Image

from helpers.tiny_models import gradients
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.types import Page

ODD_SIZES = [(1, 1), (2, 2), (1, 200), (300, 1), (1, 3000), (4000, 20)]
COEFFICIENTS = torch.randn(3, 9, generator=torch.Generator().manual_seed(1))
"""Of the log probabilities of three completions, in the sum whose gradients are compared."""
NEWLINES = {"hunyuan_vl": lambda columns, rows: rows + 2}
"""Image tokens that a family writes beside those of the grid."""


def load(folder: Path, **options: Any) -> Policy:
    return Policy.load(ModelConfig(path=str(folder), **options), device="cpu")


def page(width: int = 120, height: int = 170, prompt: str = "Read it.") -> Page:
    def noise() -> Image.Image:
        return Image.frombytes("RGB", (width, height), Random(width).randbytes(3 * width * height))

    return Page("page", noise, prompt=prompt, text="abc")


def completions(policy: Policy) -> list[list[int]]:
    letters, random = policy.processor.tokenizer.convert_tokens_to_ids(list("abcdefghij")), Random(3)
    return [[*random.choices(letters, k=length), policy.end_ids[0]] for length in (8, 4, 6)]


def plain_logprobs(policy: Policy, prompt: Any, row: list[int]) -> torch.Tensor:
    """(T,) one completion's, from one forward pass of the whole model without a cache."""
    _forget_positions(policy)
    ids, completion = prompt.inputs["input_ids"], torch.tensor([row])
    inputs = {
        name: torch.cat([value, torch.zeros_like(completion).to(value.dtype)], 1) if value.shape == ids.shape else value
        for name, value in prompt.inputs.items()
    }
    inputs["input_ids"] = torch.cat([ids, completion], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    logits = policy.base(**inputs, use_cache=False).logits[0, -len(row) - 1 : -1]
    logits = logits.index_fill(-1, torch.tensor(policy.suppressed_ids, dtype=torch.long), -torch.inf)
    return logits.log_softmax(-1).gather(1, completion.T).squeeze(1)


def trained_as_plain(folder: Path) -> dict[str, tuple[float, float]]:
    """Log probabilities and gradients against the plain model's: with a shared prompt, and also with checkpointing."""
    policy = load(folder)
    prompt, rows = policy.prompt(page()), completions(policy)
    expected, plain = plain_gradients(policy)
    found = {}
    for name, one in {"shared prompt": policy, "checkpointing": load(folder, gradient_checkpointing=True)}.items():
        ids, mask = pad_rows(rows, one.pad_id)
        state = one.read(prompt, grad=True)
        logprobs = one.score(state, ids, mask, 1.0).logprobs
        (logprobs * COEFFICIENTS)[mask].sum().backward()
        state.backward()
        actual = gradients(one)
        found[name] = (
            max(largest(row[: len(wanted)], wanted) for row, wanted in zip(logprobs, expected, strict=True)),
            furthest(actual, plain),
        )
    return found


def gradient_rounding(folder: Path) -> float:
    """How far the plain model's gradients move when each weight moves by one rounding of float32: the most of three.

    Gated delta rules (Qwen3.5) with random weights make 1e-4 to 1e-3 of a rounding; other families make 1e-6.
    """
    _, exact = plain_gradients(load(folder))
    found = []
    for seed in range(3):
        policy, random = load(folder), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in policy.base.parameters():
                weight.mul_(1 + torch.finfo(weight.dtype).eps / 2 * torch.randn(weight.shape, generator=random))
        found.append(furthest(plain_gradients(policy)[1], exact))
    return max(found)


def plain_gradients(policy: Policy) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """The completions' log probabilities, (T,) each, and the gradients of their weighted sum."""
    rows = completions(policy)
    found = [plain_logprobs(policy, policy.prompt(page()), row) for row in rows]
    sum((c[: len(row)] * row).sum() for c, row in zip(COEFFICIENTS, found, strict=True)).backward()
    return found, gradients(policy)


def furthest(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest difference, relative to a tensor's largest entry, or to 1 if that is less."""
    return max(largest(actual[key], wanted) / max(1.0, wanted.abs().max().item()) for key, wanted in expected.items())


def largest(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual.detach() - expected.detach()).abs().max())


def sampled_as_generate(policy: Policy) -> float:
    """The engine's log probabilities against the plain model's; greedy, it samples what `generate` does."""
    pages = [page(), page(200, 90)]
    engine = TransformersEngine(policy)
    greedy = engine.generate(pages, Sampling(group_size=2, temperature=0.0, max_tokens=8), seed=5)
    for one, group in zip(pages, greedy, strict=True):
        prompt = policy.prompt(one)
        _forget_positions(policy)
        generated = policy.base.generate(
            **prompt.inputs,
            attention_mask=torch.ones_like(prompt.inputs["input_ids"]),
            do_sample=False,
            max_new_tokens=8,
            bad_words_ids=[[i] for i in policy.suppressed_ids] or None,
        )
        assert list(group.completions[0].token_ids) == generated[0, len(prompt) :].tolist()
    return sampled_as_scored(policy, engine.generate(pages, Sampling(2, temperature=1.0, max_tokens=8), seed=5))


@torch.no_grad()
def sampled_as_scored(policy: Policy, groups: list[Any]) -> float:
    """An engine's log probabilities against the plain model's."""
    return max(
        largest(torch.tensor(c.sampling_logprobs), plain_logprobs(policy, policy.prompt(group.page), list(c.token_ids)))
        for group in groups
        for c in group.completions
    )


def fits(policy: Policy, name: str, pages: int) -> None:
    """The processor leaves fitted pages as they are, and writes as many image tokens as are counted."""
    config, random, budget = policy.base.config, Random(0), policy.budget
    image = next(getattr(config, key) for key in ("image_token_id", "image_token_index") if hasattr(config, key))
    sizes = ODD_SIZES + [(random.randint(1, 640), random.randint(1, 640)) for _ in range(pages)]
    for i, (width, height) in enumerate(sizes):
        white = Page("page", lambda size=(width, height): Image.new("RGB", size, "white"))  # noise would take longer
        prompt = policy.prompt(page(width, height) if i % 20 == 0 else white)
        columns, rows = (side // budget.multiple for side in budget.fitted_size(width, height))
        assert budget.tokens(width, height) == columns * rows
        beside = NEWLINES[name](columns, rows) if name in NEWLINES else 0
        assert prompt.token_ids.count(image) == columns * rows + beside, (width, height)
        if i % 20 == 0:
            fitted = budget.fit(page(width, height).image)
            alone = policy.processor.image_processor(images=[fitted], do_resize=False, return_tensors="pt")
            pixels = prompt.inputs["pixel_values"]
            assert pixels.equal(alone["pixel_values"].reshape(pixels.shape)), (width, height)


@torch.no_grad()
def reloaded_adapter(folder: Path, out: Path) -> float:
    """Log probabilities of a saved adapter with random weights against those before it was saved."""
    policy = load(folder, lora_rank=4)
    for parameter in policy.trainable_parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    prompt, row = policy.prompt(page()), completions(policy)[0]
    policy.save(out)
    return largest(plain_logprobs(load(out), prompt, row), plain_logprobs(policy, prompt, row))


def _forget_positions(policy: Policy) -> None:
    if hasattr(policy.backbone, "rope_deltas"):  # the offset of the page before
        policy.backbone.rope_deltas = None

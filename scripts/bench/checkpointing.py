"""Activation checkpointing with a shared prompt: memory, CPU time, tower passes and gradients of one group.

    python scripts/bench/checkpointing.py --group-sizes 8 16
    python scripts/bench/checkpointing.py --width 512 --group-sizes 8 --tokens 256     # 51 million weights

A Qwen2.5-VL of middle size, in the proportions of the 7B model, with random weights reads one page and scores G
completions; the sum of their log probabilities is differentiated. Three ways: without checkpointing, with
`model.gradient_checkpointing`, and as transformers does it (`gradient_checkpointing_enable`, the prompt repeated for
each completion). "kept" is what the C library's heap holds more after the forward pass than before it, so it needs
Linux with glibc. "tower" is how many pages go through the vision tower's first block, recomputation included.
"gradients" is the largest ||difference|| / ||gradient|| of a weight, against none.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))  # random models of families are made for the tests

from helpers.families import ANY_SIZE
from helpers.families.building import build_family
from helpers.families.family import Family
from helpers.tiny_models import gradients, score_unshared
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import Prompt
from ocr_rl.types import Page

MIB = 2**20
QWEN = ANY_SIZE["qwen2_5_vl"]


def middle(width: int) -> Family:
    """Eight layers of this width, a multiple of 64, and a tower of five eighths of it."""
    return replace(
        QWEN,
        image_settings=QWEN.image_settings | {"size": {"shortest_edge": 56 * 56, "longest_edge": 4096 * 28 * 28}},
        vision={
            "depth": 8,
            "hidden_size": width * 5 // 8,
            "intermediate_size": width * 107 // 64,
            "num_heads": width // 64,
            "out_hidden_size": width,
            "fullatt_block_indexes": [3, 7],
        },
        text={
            "hidden_size": width,
            "intermediate_size": width * 43 // 8,
            "num_hidden_layers": 8,
            "num_attention_heads": width // 32,
            "num_key_value_heads": width // 128,
            "rope_parameters": QWEN.text["rope_parameters"],
        },
    )


@dataclass(frozen=True)
class Measured:
    kept: float
    seconds: float
    tower: float
    gradients: dict[str, torch.Tensor]


class Heap(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def heap_bytes() -> int:
    """Bytes that are allocated now."""
    gc.collect()
    mallinfo = ctypes.CDLL("libc.so.6").mallinfo2
    mallinfo.restype = Heap
    found = mallinfo()
    return int(found.uordblks + found.hblkhd)


def measure(
    policy: Policy, rows: int, tokens: int, patches: int, forward: Callable[..., list[Callable[[], None]]]
) -> Measured:
    """One forward and backward pass; `forward` returns the parts of the backward pass."""
    random = Random(1)
    letters = policy.processor.tokenizer.convert_tokens_to_ids(list("abcdefghij"))
    ids, mask = pad_rows([random.choices(letters, k=tokens) for _ in range(rows)], policy.pad_id)
    seen: list[int] = []
    block = policy.base.model.visual.blocks[0].norm1
    hook = block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[0]))
    before, start = heap_bytes(), time.process_time()
    backward = forward(policy, ids, mask)
    done = time.process_time() - start
    kept = heap_bytes() - before
    start = time.process_time()
    for part in backward:
        part()
    seconds = done + time.process_time() - start
    hook.remove()
    return Measured(kept, seconds, sum(seen) / patches, gradients(policy))


def shared(policy: Policy, prompt: Prompt, ids: torch.Tensor, mask: torch.Tensor) -> list[Callable[[], None]]:
    state = policy.read(prompt, grad=True)
    loss = policy.score(state, ids, mask, 1.0).logprobs[mask].sum()
    return [loss.backward, state.backward]


def repeated(policy: Policy, prompt: Prompt, ids: torch.Tensor, mask: torch.Tensor) -> list[Callable[[], None]]:
    return [score_unshared(policy, prompt, ids, mask, 1.0).logprobs[mask].sum().backward]


def difference(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest over weights of ||difference|| / ||gradient||."""
    return max(float((found[name] - g).norm() / g.norm().clamp_min(1e-12)) for name, g in expected.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group-sizes", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--tokens", type=int, default=150, help="tokens of a completion, T")
    parser.add_argument("--width", type=int, default=256, help="of the decoder, a multiple of 64")
    parser.add_argument("--page", type=int, nargs=2, default=[616, 784], help="width and height of the page")
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = tuple(options.page)
    page = Page(
        "page", lambda: Image.frombytes("RGB", size, Random(0).randbytes(3 * size[0] * size[1])), prompt="Read."
    )
    contenders: dict[str, tuple[bool, Callable[..., list[Callable[[], None]]]]] = {
        "none": (False, shared),
        "model.gradient_checkpointing": (True, shared),
        "transformers' own": (False, repeated),
    }
    print("| G | prompt | contender | kept MiB | of none | CPU s | of none | tower | gradients |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for rows in options.group_sizes:
        none: Measured | None = None
        for name, (checkpointing, score) in contenders.items():
            policy = Policy(*build_family(middle(options.width), seed=0), gradient_checkpointing=checkpointing)
            prompt = policy.prompt(page)
            if score is repeated:
                policy.model.gradient_checkpointing_enable({"use_reentrant": False})
                policy.model.train()
            patches = int(prompt.inputs["image_grid_thw"].prod())
            forward = lambda policy, ids, mask, score=score, prompt=prompt: score(policy, prompt, ids, mask)  # noqa: E731
            measure(policy, 1, 2, patches, forward)  # what is allocated once
            found = measure(policy, rows, options.tokens, patches, forward)
            none = none or found
            print(
                f"| {rows} | {len(prompt)} | {name} | {found.kept / MIB:.0f} | {found.kept / none.kept:.3f} "
                f"| {found.seconds:.1f} | {found.seconds / none.seconds:.2f} | {found.tower:g} "
                f"| {difference(found.gradients, none.gradients):.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""Which kernel PyTorch's attention takes: in the tower, for the prompt, and where completions continue a cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from gpu_checks.accuracy import random_groups
from gpu_checks.bench import Bench, Result
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.page_reader import PageReader
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine

FUSED = "_scaled_dot_product_"
"""How the names of fused kernels begin: flash, efficient, cudnn, ...; the CPU's is flash too."""
FLASH = ("flash", "cudnn")
WANTED = {"tower": "fused", "prompt": "flash", "continued, to learn": "fused", "continued, to sample": "fused"}
"""The plain way, named math, is to write all attention weights to memory. Nothing masks the prompt, so that it may take
a flash kernel, which on a GPU needs 16 bits; the continued passes are masked."""


class _Kernels(TorchDispatchMode):
    """The last fused kernel that was called."""

    last = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::")
        if name.startswith(FUSED) and "backward" not in name and "math" not in name:
            self.last = name.removeprefix(FUSED).split("_")[0]
        return func(*args, **(kwargs or {}))


class AttentionCalls(TorchFunctionMode):
    """Counts the kernel of each call of `scaled_dot_product_attention`, by what is going on."""

    def __init__(self) -> None:
        super().__init__()
        self.phase = ""
        self.in_tower = False
        self.counts: dict[str, Counter[str]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        with _Kernels() as kernels:
            result = func(*args, **(kwargs or {}))
        mask = kwargs.get("attn_mask") if kwargs else None
        kernel = f"{kernels.last or 'math'}{'' if mask is None else ' masked'}"
        self.counts.setdefault("tower" if self.in_tower else self.phase, Counter())[kernel] += 1
        return result


def attention_kernels(bench: Bench, dtype: str) -> Iterator[Result]:
    policy = bench.policy(bench.recipe(dtype))
    page, shape = bench.pages()[0], bench.shape
    [group] = random_groups(policy, [page], shape.group_size, min(64, shape.tokens))
    ids, mask = pad_rows([list(c.token_ids) for c in group.group.completions], policy.pad_id)
    calls, tower = AttentionCalls(), policy.base.model.visual
    hooks = [
        tower.register_forward_pre_hook(lambda *_: setattr(calls, "in_tower", True)),
        tower.register_forward_hook(lambda *_: setattr(calls, "in_tower", False)),
    ]
    with calls:
        calls.phase = "prompt"
        reading = PageReader(policy, policy.prompt(page), grad=True)
        calls.phase = "continued, to learn"
        reading.score(ids, mask, 1.0)
    with calls, torch.no_grad():
        calls.phase = "prompt"
        events = TransformersEngine(policy)._decode(
            [policy.read(policy.prompt(page))], Sampling(shape.group_size, 1.0, 4), torch.Generator(policy.device)
        )
        calls.phase = "continued, to sample"
        list(events)
    for hook in hooks:
        hook.remove()
    for phase, wanted in WANTED.items():
        yield judged(phase, wanted, calls.counts.get(phase, Counter()), dtype)


def judged(phase: str, wanted: str, counts: Counter[str], dtype: str) -> Result:
    taken = ", ".join(f"{kernel} {count}" for kernel, count in counts.most_common())
    kernels = {kernel.split()[0] for kernel in counts}
    wanted = "fused" if dtype == "float32" else wanted
    passed = bool(kernels) and (kernels.issubset(FLASH) if wanted == "flash" else "math" not in kernels)
    return Result(f"attention in {dtype}: {phase}", taken or "no call", wanted, passed, dict(counts))

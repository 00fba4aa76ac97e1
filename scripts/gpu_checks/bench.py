"""The policy, pages and recipe that all checks use, and how a check says what it found."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from PIL import Image

from helpers.families import ANY_SIZE
from helpers.families.building import build_family
from helpers.families.family import Family
from ocr_rl.config.schema import GrpoConfig, ModelConfig, Recipe, RewardConfig, RolloutConfig, TrainConfig
from ocr_rl.models.policy import Policy
from ocr_rl.types import Page

QWEN = ANY_SIZE["qwen2_5_vl"]
LETTERS = "abcdefghij "


class Shape(NamedTuple):
    """A policy and the work of a step."""

    family: Family
    page: tuple[int, int]
    """Width and height in pixels; an image token covers 28 x 28."""
    pages: int
    group_size: int
    tokens: int
    """Of each completion."""


def qwen(hidden: int, layers: int, vision: int) -> Family:
    """Qwen2.5-VL with heads as wide as in the published models: 128 in the decoder, 80 in the tower."""
    return replace(
        QWEN,
        image_settings=QWEN.image_settings | {"size": {"shortest_edge": 4 * 28**2, "longest_edge": 4096 * 28**2}},
        vision={
            "depth": 8,
            "hidden_size": vision,
            "intermediate_size": vision * 8 // 3,
            "num_heads": vision // 80,
            "out_hidden_size": hidden,
            "window_size": 112,
            "fullatt_block_indexes": [3, 7],
        },
        text={
            "vocab_size": 16_384,
            "hidden_size": hidden,
            "intermediate_size": 4 * hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": hidden // 128,
            "num_key_value_heads": 2,
            "max_position_embeddings": 8192,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
    )


SHAPES = {
    "tiny": Shape(QWEN, (112, 140), 1, 3, 8),
    "50m": Shape(qwen(512, 7, 320), (896, 1148), 2, 8, 256),
    "200m": Shape(qwen(1024, 10, 480), (896, 1148), 2, 8, 256),
    "500m": Shape(qwen(1536, 12, 640), (896, 1148), 2, 8, 256),
}


@dataclass(frozen=True)
class Result:
    """A line of the report."""

    name: str
    figure: str
    bar: str = "-"
    passed: bool | None = True
    """None: skipped, and `figure` is the reason."""
    values: dict[str, float] = field(default_factory=dict)
    """The numbers, for --json."""


def skipped(name: str, reason: str) -> Result:
    return Result(name, reason, passed=None)


def at_most(name: str, value: float, bar: float, note: str = "") -> Result:
    """NaN fails."""
    return Result(name, f"{value:.2g}{note}", f"<= {bar:g}", value <= bar, {"value": value})


class Bench:
    """A checkpoint of random weights in `folder`, on a device."""

    def __init__(self, size: str, device: torch.device, folder: Path) -> None:
        self.shape, self.device, self.folder = SHAPES[size], device, folder
        for part in build_family(self.shape.family, seed=0):
            part.save_pretrained(folder)

    @property
    def gpu(self) -> bool:
        return self.device.type == "cuda"

    def recipe(self, dtype: str = "float32", checkpointing: bool = False) -> Recipe:
        shape = self.shape
        return Recipe(
            model=ModelConfig(path=str(self.folder), compute_dtype=dtype, gradient_checkpointing=checkpointing),  # type: ignore[arg-type]
            rollout=RolloutConfig(
                engine="transformers",
                pages_per_step=shape.pages,
                group_size=shape.group_size,
                max_tokens=shape.tokens,
                rows=shape.pages * shape.group_size,
            ),
            reward=RewardConfig(weights={"similarity": 1.0}, processes=0),
            grpo=GrpoConfig(min_group_std=0.0),  # no group is left out: the work is always the same
            train=TrainConfig(steps=4, learning_rate=1e-5),
        )

    def policy(self, recipe: Recipe, device: torch.device | None = None) -> Policy:
        return Policy.load(recipe.model, device or self.device)

    def pages(self) -> Sequence[Page]:
        return [self._page(i) for i in range(self.shape.pages)]

    def _page(self, i: int) -> Page:
        random, (width, height) = Random(i), self.shape.page
        text = "".join(random.choices(LETTERS, k=self.shape.tokens))

        def noise() -> Image.Image:
            return Image.frombytes("RGB", (width, height), Random(i).randbytes(3 * width * height))

        return Page(f"page {i}", noise, prompt="Read it.", text=text)

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.gpu:
            torch.cuda.synchronize()

    def clock(self) -> float:
        """Seconds of the clock on a GPU, else CPU seconds; differences are meaningful."""
        self.wait()
        return time.perf_counter() if self.gpu else time.process_time()

    def seconds(self, work: Callable[[], object]) -> float:
        began = self.clock()
        work()
        return self.clock() - began

    def peak(self) -> int:
        """Bytes of the GPU that tensors have taken at most since `free`; 0 without one."""
        return torch.cuda.max_memory_allocated() if self.gpu else 0

    def held(self) -> int:
        """Bytes of the GPU that tensors take now; 0 without one."""
        return torch.cuda.memory_allocated() if self.gpu else 0

    def free(self) -> None:
        """Give memory back that no tensor uses, and forget its peak."""
        gc.collect()
        if self.gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

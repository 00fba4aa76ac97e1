"""Pages per second of reading alone: decode, fit, process, with threads and with processes.

    python scripts/bench/reading.py [PAGES]

Pages are PNG files of two megapixels, made like a scan with grain, and the processor is that of Qwen2.5-VL. A reader is
a thread of `ocr_rl.models.reading_ahead`, or a process that sends its tensors through a pipe. The table has the best
of three rounds, since other programs may be busy, and CPU seconds a page.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from ocr_rl.config.schema import ModelConfig
from ocr_rl.data.images import ImageFile
from ocr_rl.models.policy import Policy
from ocr_rl.models.reading_ahead import Readers
from ocr_rl.types import Page

SIZE = (1240, 1700)
ROUNDS = 3


def save_checkpoint(folder: Path) -> None:
    from dataclasses import replace

    from helpers.families import ANY_SIZE
    from helpers.families.building import build_family

    family = ANY_SIZE["qwen2_5_vl"]
    size = {"shortest_edge": 4 * 28**2, "longest_edge": 4096 * 28**2}
    for part in build_family(replace(family, image_settings=family.image_settings | {"size": size}), 0):
        part.save_pretrained(folder)


def save_pages(folder: Path, count: int) -> list[Page]:
    rng = np.random.default_rng(0)
    paper = Image.fromarray(rng.normal(225, 6, (SIZE[1], SIZE[0], 3)).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(paper)
    for y in range(100, SIZE[1] - 100, 32):
        draw.text((100, y), "the quick brown fox jumps over the lazy dog " * 3, fill="black")
    paper.save(folder / "0.png")
    return [Page(str(i), ImageFile(folder / "0.png"), prompt="Read it.") for i in range(count)]


def with_threads(policy: Policy, pages: list[Page], count: int) -> int:
    policy.readers = Readers(count)
    return sum(len(policy.prompt(page)) > 0 for page in policy.readers.through(policy, pages, 8))


def load(folder: str) -> None:
    global loaded
    torch.set_num_threads(1)
    loaded = Policy.load(ModelConfig(path=folder), "cpu")


def read(page: Page) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in loaded.process(page).items()}


def with_processes(pool: multiprocessing.pool.Pool, pages: list[Page]) -> int:
    return sum(len(inputs) > 0 for inputs in pool.imap(read, pages))


def cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def rows(folder: Path, pages: list[Page]) -> Iterator[tuple[str, float, float]]:
    policy = Policy.load(ModelConfig(path=str(folder)), "cpu")
    for count in (0, 1, 2):
        name = f"{count} threads" if count else "none: when asked for"
        best, spent = 0.0, cpu_seconds()
        for _ in range(ROUNDS):
            began = time.monotonic()
            best = max(best, with_threads(policy, pages, count) / (time.monotonic() - began))
        yield name, best, (cpu_seconds() - spent) / (ROUNDS * len(pages))
    for count in (1, 2):
        best, spent = 0.0, cpu_seconds()
        with multiprocessing.get_context("spawn").Pool(count, load, [str(folder)]) as pool:
            with_processes(pool, pages[:count])
            for _ in range(ROUNDS):
                began = time.monotonic()
                best = max(best, with_processes(pool, pages) / (time.monotonic() - began))
            pool.close()
            pool.join()
        yield f"{count} processes, with their start", best, (cpu_seconds() - spent) / (ROUNDS * len(pages))


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder))
        pages = save_pages(Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else 24)
        print("| readers | pages/s | CPU s a page |\n|---|---|---|")
        for name, rate, seconds in rows(Path(folder), pages):
            print(f"| {name} | {rate:.1f} | {seconds:.3f} |", flush=True)


if __name__ == "__main__":
    main()

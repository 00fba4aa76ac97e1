"""A recipe's pages: read from its dataset, or rendered."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

from tqdm import tqdm

from ocr_rl import distributed
from ocr_rl.config.schema import DataConfig, RenderConfig
from ocr_rl.data.loading import load_pages
from ocr_rl.data.synthetic.render import STYLES, Layout, render_collection
from ocr_rl.types import Page


def collect_pages(data: DataConfig, render: RenderConfig, folder: Path) -> list[Page]:
    """The recipe's dataset; without one, a collection rendered into `folder`, unless it is there already."""
    if data.path:
        return load_pages(data.path, where=data.where, prompt=data.prompt, columns=data.columns, split=data.split)
    if render.style not in STYLES:
        raise ValueError(f'render.style is "{render.style}"; write one of {", ".join(STYLES)}')
    lines, characters = render.lines, render.characters
    layout = Layout(render.layout, (lines[0], lines[1]), (characters[0], characters[1]))
    distributed.of_first(partial(_render, render, layout, folder))
    return load_pages(folder, prompt=data.prompt)


def _render(render: RenderConfig, layout: Layout, folder: Path) -> None:
    if not (folder / "metadata.jsonl").exists():
        unfinished = folder.with_name(folder.name + ".partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        render_collection(
            unfinished,
            render.pages,
            seed=render.seed,
            layouts=[layout],
            style=STYLES[render.style],
            name=render.style,
            progress=partial(tqdm, desc="rendering", unit="page", leave=False),
        )
        os.replace(unfinished, folder)

"""A recipe's pages: read from its dataset, or rendered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from ocr_rl import distributed
from ocr_rl.config.schema import Recipe, RenderConfig
from ocr_rl.data.loading import large_rows, recipe_pages
from ocr_rl.data.problems import Problem
from ocr_rl.data.synthetic.render import STYLES, Layout, render_collection
from ocr_rl.runs.atomic import atomic_folder
from ocr_rl.runs.skipped import list_skipped
from ocr_rl.types import Page


def collect_pages(recipe: Recipe, folder: Path, say: Callable[[str], None] = lambda message: None) -> Sequence[Page]:
    """The recipe's dataset; without one, a collection rendered into `folder`, unless it is there already.

    What data.on_error skips is listed in skipped.jsonl beside `folder`.
    """
    render = recipe.render
    if not recipe.data.path:
        if render.style not in STYLES:
            raise ValueError(f'render.style is "{render.style}"; write one of {", ".join(STYLES)}')
        lines, characters = render.lines, render.characters
        layout = Layout(render.layout, (lines[0], lines[1]), (characters[0], characters[1]))
        distributed.of_first(partial(_render, render, layout, folder))
    skipped: list[Problem] = []
    indexed = bool(recipe.data.path) and large_rows(recipe.data.path) is not None
    if indexed and not distributed.first():
        distributed.wait()  # the index that the first process makes is there for the others
    pages = recipe_pages(recipe, folder, skipped.append)
    if indexed and distributed.first():
        distributed.wait()
    if distributed.first():
        list_skipped(skipped, folder.parent / "skipped.jsonl", say)
    return pages


def _render(render: RenderConfig, layout: Layout, folder: Path) -> None:
    if (folder / "metadata.jsonl").exists():
        return
    with atomic_folder(folder) as unfinished:
        render_collection(
            unfinished,
            render.pages,
            seed=render.seed,
            layouts=[layout],
            style=STYLES[render.style],
            name=render.style,
            progress=partial(tqdm, desc="rendering", unit="page", leave=False),
        )

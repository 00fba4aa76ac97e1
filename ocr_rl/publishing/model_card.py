"""The model card: README.md as the Hugging Face hub reads it, with nothing that the run folder does not hold."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from ocr_rl import __version__
from ocr_rl.config.embedded import EMBEDDED
from ocr_rl.config.presets import PromptFormat
from ocr_rl.config.schema import Recipe
from ocr_rl.metric_names import RATES
from ocr_rl.publishing.source import Source
from ocr_rl.types import Page

HUB_ID = r"[\w-][\w.-]*/[\w-][\w.-]*"
LEFT_OUT = {"vllm", "model.path", "data.path", "train.tensorboard", "train.wandb", "reward.processes", "reward.model"}
"""Sections and keys that say where a run was, not what it did."""


def checkpoint_card(
    name: str, source: Source, pages: Sequence[Page], asked: PromptFormat, dtype: str, check: str
) -> str:
    """The card of one checkpoint.

    Args:
        pages: some that it was checked with.
        asked: how it is asked for a page, and what it answers in.
        check: the result of that, in one sentence.
    """
    before, after = source.evaluations()
    made = f"{_shown(source.base)}"
    if source.recipe is not None:
        step = f" for {source.step} steps" if source.step else ""
        made += f", trained with `{source.recipe.algorithm}`{step}"
    made = f"This is {made}, saved as {dtype} by ocr-rl {__version__}."
    columns = {title: one for title, one in (("before", before), ("after", after)) if one}
    return _card(name, [source], made, check, [_table(columns)] if columns else [], pages, asked)


def soup_card(
    name: str,
    sources: Sequence[Source],
    how: str,
    ingredients: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Mapping[str, Any]],
    pages: Sequence[Page],
    asked: PromptFormat,
    dtype: str,
) -> str:
    """The card of a soup.

    Args:
        how: how it was made, in one sentence.
        ingredients: a row for each: `name`, `share`, and what else was measured of it.
        columns: evaluations, the soup's among them.
    """
    titles = list(ingredients[0])
    rows = [[_cell(row[title]) for title in titles] for row in ingredients]
    first = sources[0]
    of = "" if first.base == first.checkpoint else f" of checkpoints that started from {_shown(first.base)},"
    made = f"This is a model soup{of} saved as {dtype} by ocr-rl"
    parts = ["## Ingredients\n", _markdown_table(titles, rows)]
    results = [*parts, *([_table(columns)] if columns else [])]
    return _card(name, sources, f"{made} {__version__}.", how, results, pages, asked)


def _card(
    name: str,
    sources: Sequence[Source],
    made: str,
    note: str,
    results: Sequence[str],
    pages: Sequence[Page],
    asked: PromptFormat,
) -> str:
    recipe = sources[0].recipe
    sections = [front_matter(sources), f"# {name}\n", f"{made} {note}\n", *results, "## Prompt and output\n"]
    prompts = {page.prompt or asked.prompt for page in pages} or {asked.prompt}
    if prompts == {""}:
        sections.append("The prompt is the page image alone, in the chat template of the checkpoint.\n")
    elif len(prompts) == 1:
        text_first = asked.prompt_order == "text_first"
        order = "this text and then the page image" if text_first else "the page image and then this text"
        sections.append(f"The prompt is {order}:\n\n```text\n{prompts.pop()}\n```\n")
    else:
        sections.append("The prompt is the page image and a text that differs from page to page.\n")
    sections.append(f"The output format is `{asked.output}`.\n")
    if asked.longest_side:
        sections.append(f"Pages were scaled down to at most {asked.longest_side:,} pixels on their longer side.\n")
    if recipe is not None and recipe.model.max_pixels:
        sections.append(f"Pages were scaled down to at most {recipe.model.max_pixels:,} pixels.\n")
    sections.append("## How to serve it\n")
    sections.append(f"```sh\nvllm serve {name} --limit-mm-per-prompt '{{\"image\": 1}}'\n```\n")
    sections.append(
        "Send the page as an `image_url` of a chat request with temperature 0"
        + (f" and `max_tokens` {recipe.rollout.max_tokens}.\n" if recipe is not None else ".\n")
    )
    if recipe is not None:
        data = _shown(recipe.data.path) if recipe.data.path else f"rendered pages in the style `{recipe.render.style}`"
        sections.append(f"## Training\n\nData: {data}. What the recipe sets:\n\n```toml\n{_settings(recipe)}```\n")
    return "\n".join(sections)


def front_matter(sources: Sequence[Source]) -> str:
    """What the hub reads: a base model and a data set only where these are on the hub; no license is known."""
    recipe = sources[0].recipe
    base, data = sources[0].base, recipe.data.path if recipe is not None else ""
    values = ModelCardData(
        library_name="transformers",
        pipeline_tag="image-text-to-text",
        base_model=base if _is_hub_id(base) else None,
        base_model_relation="finetune" if _is_hub_id(base) else None,
        datasets=[data] if _is_hub_id(data) else None,
        tags=["ocr", "ocr-rl", *(["model-soup"] if len(sources) > 1 else [])],
    )
    return f"---\n{values.to_yaml()}\n---\n"


def _shown(path: str) -> str:
    """A hub id as it is, a folder by its name: the card says nothing about somebody's disk."""
    if path in EMBEDDED:
        return f"`{path}`, a policy that ocr-rl ships"
    return f"[{path}](https://huggingface.co/{path})" if _is_hub_id(path) else f"`{Path(path).name}`"


def _is_hub_id(path: str) -> bool:
    return bool(re.fullmatch(HUB_ID, path)) and not Path(path).exists()


def _settings(recipe: Recipe) -> str:
    """The settings that differ from their defaults, as TOML."""
    import tomli_w

    table: dict[str, Any] = {"algorithm": recipe.algorithm}
    defaults = dataclasses.asdict(Recipe())
    for section, values in dataclasses.asdict(recipe).items():
        if section in LEFT_OUT or not isinstance(values, dict):
            continue
        own = {key: value for key, value in values.items() if value != defaults[section][key]}
        if kept := {key: value for key, value in own.items() if f"{section}.{key}" not in LEFT_OUT}:
            table[section] = kept
    return tomli_w.dumps(table)


def _table(columns: Mapping[str, Mapping[str, Any]]) -> str:
    """Rates with their 95 % intervals, a column for each evaluation."""
    names = [name for name in RATES if any(one.get(name) is not None for one in columns.values())]
    rows = [[name, *(_rate(one, name) for one in columns.values())] for name in names]
    pages = {int(one["n"]) for one in columns.values()}
    counted = " and ".join(map(str, sorted(pages)))
    title = f"## Results\n\nOn {counted} held-out pages, greedy, with 95 % intervals over documents:\n\n"
    return title + _markdown_table(["", *columns], rows)


def _rate(evaluation: Mapping[str, Any], name: str) -> str:
    value, interval = evaluation.get(name), evaluation.get(f"{name}_ci")
    if value is None:
        return "-"
    return f"{value:.3f}" if interval is None else f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)

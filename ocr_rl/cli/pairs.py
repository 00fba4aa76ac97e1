"""`ocr-rl pairs`: preferences out of groups of scored completions, as JSON Lines for DPO, KTO and ORPO."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.options import dataset_options, folder_exists, parse_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ocr_rl.types import Page


@click.command()
@click.argument("groups", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=folder_exists,
    help="Write a line per pair, or per labelled completion, to this .jsonl file.",
)
@click.option(
    "--choose",
    type=click.Choice(["best-worst", "margin", "best-of-n"]),
    help="Of each page: its best completion against its worst; every two that are --margin apart; or its best against "
    "all that are --margin worse.  [default: best-worst]",
)
@click.option(
    "--margin", type=click.FloatRange(min=0, min_open=True), help="Least difference in reward.  [default: 0.1]"
)
@click.option("--most", type=click.IntRange(min=1), help="Pairs of a page with --choose margin.  [default: 8]")
@click.option("--labels", is_flag=True, help="Completions that are good or bad by themselves, for KTO, not pairs.")
@click.option(
    "--threshold", type=float, help="With --labels: the reward of a good completion.  [default: its group's mean]"
)
@click.option(
    "--dead-zone",
    type=click.FloatRange(min=0),
    help="With --labels: leave out completions that are this close to the threshold.  [default: 0]",
)
@click.option(
    "--scores",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `ocr-verify groups GROUPS --json SCORES` wrote, where GROUPS has no rewards, or others are wanted.",
)
@click.option(
    "--data", metavar="PATH", help="The pages' dataset: lines name their images and prompts, which TRL needs."
)
@dataset_options
@click.option("--prompt", default="", help="Instruction for pages of --data that bring none.")
@user_errors
def pairs(
    groups: Path,
    out: Path,
    choose: str | None,
    margin: float | None,
    most: int | None,
    labels: bool,
    threshold: float | None,
    dead_zone: float | None,
    scores: Path | None,
    data: str | None,
    where: tuple[str, ...],
    columns: tuple[str, ...],
    split: str | None,
    prompt: str,
) -> None:
    """Turn the scored completions in GROUPS, from `ocr-rl rollout`, into preferences.

    \b
    {"id": "p1.png", "images": ["/scans/p1.png"], "prompt": [{"role": "user", "content": [{"type": "image"}]}],
     "chosen": [{"role": "assistant", "content": "..."}], "rejected": [{"role": "assistant", "content": "..."}],
     "chosen_reward": 0.93, "rejected_reward": 0.11, "chosen_finished": true, "rejected_finished": true}
    {"id": ..., "images": ..., "prompt": ..., "completion": [{...}], "label": true, "reward": 0.93, ...}     --labels

    Pages in which no two different texts are far enough apart give nothing and are counted. `ocr-rl train dpo` reads
    the file as pairs.path, and so do TRL's trainers with --data. Images inside PDFs and tables are written into a
    folder beside OUT.

    \b
    ocr-rl pairs groups.jsonl --out pairs.jsonl
    ocr-rl pairs groups.jsonl --out pairs.jsonl --choose margin --margin 0.2 --data scans/
    ocr-rl pairs groups.jsonl --out labels.jsonl --labels --threshold 0.8 --dead-zone 0.1
    ocr-verify groups groups.jsonl --rubric layout --json scores.jsonl && \\
      ocr-rl pairs groups.jsonl --scores scores.jsonl --out pairs.jsonl
    ocr-rl train dpo --data scans/ --set pairs.path=pairs.jsonl
    """
    _refuse(labels, "is about pairs; leave it out with --labels", choose=choose, margin=margin, most=most)
    _refuse(not labels, "is about labels; add --labels", threshold=threshold, dead_zone=dead_zone)
    _refuse(data is None, "is about a dataset; add --data", where=where, column=columns, split=split, prompt=prompt)
    _refuse(choose != "margin", "is a bound for --choose margin; leave it out", most=most)

    from ocr_rl.data.loading import load_pages, parse_filters
    from ocr_rl.rewards.group_files import read_groups
    from ocr_rl.rewards.preference_files import image_path, label_row, pair_row
    from ocr_rl.rewards.preferences import Choose, labels_of_groups, largest_margin, pairs_of_groups

    pages: dict[str, Page] | None = None
    if data is not None:
        filters, names = parse_filters(where), parse_columns(columns)
        found = load_pages(data, where=filters, prompt=prompt, columns=names, split=split or "train")
        pages = {page.id: page for page in found}
    margin = 0.1 if margin is None else margin
    chosen: Choose = next(kind for kind in get_args(Choose) if kind == (choose or "best-worst"))
    read = without = written = good = 0
    widest = 0.0
    with _lines(out) as write:
        for group in read_groups(groups, scores, pages):
            read += 1
            widest = max(widest, largest_margin(group))
            own = pairs_of_groups([group], chosen, margin, most or 8) if not labels else []
            marked = labels_of_groups([group], threshold, dead_zone or 0.0) if labels else []
            image = None
            if pages is not None and (own or marked):
                image = image_path(group.group.page, out.with_name(out.stem + "_images"))
            rows = [pair_row(pair, image) for pair in own] + [label_row(label, image) for label in marked]
            for row in rows:
                write(row)
            written += len(rows)
            good += sum(label.desirable for label in marked)
            without += not rows
        if not written and not labels:
            raise ValueError(
                f"{groups}: no two completions of a page are {margin:g} apart in reward; the largest difference is "
                f"{widest:.4g}. Give a lower --margin, or sample larger groups"
            )
        if not written:
            raise ValueError(f"{groups}: no completion is far enough from the threshold; give a lower --dead-zone")
    what = f"{written} labels, {good} of them desirable," if labels else f"{written} pairs"
    click.echo(f"{what} of {read - without} pages in {out}; {without} pages give none")


def _refuse(when: bool, why: str, /, **options: object) -> None:
    """An option that would do nothing is a mistake."""
    for name in [name for name, value in options.items() if when and value not in (None, (), "")]:
        raise ValueError(f"--{name.replace('_', '-')} {why}")


@contextmanager
def _lines(path: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Writes objects as lines; the file is there when all went well."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "w", encoding="ascii") as file:
            yield lambda row: print(json.dumps(row, allow_nan=False), file=file)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)

"""A file of scored groups becomes a file of pairs, for DPO and ORPO, or of labelled completions, for KTO."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ocr_rl.rewards.group_files import read_groups
from ocr_rl.rewards.preference_files import image_path, label_row, pair_row
from ocr_rl.rewards.preferences import (
    Choose,
    LabelledCompletion,
    Pair,
    labels_of_groups,
    largest_margin,
    pairs_of_groups,
)
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.runs.atomic import atomic_file
from ocr_rl.types import Page


@dataclass(frozen=True)
class PairOptions:
    """Which completions of a page become pairs, see `rewards.preferences.pairs_of_groups`."""

    choose: Choose = "best-worst"
    margin: float = 0.1
    """Least difference in reward, above 0."""
    max_pairs: int = 8
    """Of a page, with choose = "margin"."""

    def preferences(self, group: ScoredGroup) -> Sequence[Pair]:
        return pairs_of_groups([group], self.choose, self.margin, self.max_pairs)


@dataclass(frozen=True)
class LabelOptions:
    """Which completions are good and which are bad, see `rewards.preferences.labels_of_groups`."""

    threshold: float | None = None
    """The reward of a good completion; None: the mean of its group."""
    dead_zone: float = 0.0
    """Completions that are this close to the threshold are left out."""

    def preferences(self, group: ScoredGroup) -> Sequence[LabelledCompletion]:
        return labels_of_groups([group], self.threshold, self.dead_zone)


class PreferenceCounts(NamedTuple):
    rows: int
    """Pairs, or labelled completions."""
    desirable: int
    """Of the labelled completions."""
    pages: int
    """That the rows are of."""
    without: int
    """Pages that give no row."""


def write_preferences(
    groups: Path,
    out: Path,
    options: PairOptions | LabelOptions,
    scores: Path | None = None,
    pages: Sequence[Page] | None = None,
) -> PreferenceCounts:
    """Write a line for each pair, or labelled completion, of the `groups` that `ocr-rl rollout` wrote.

    `scores` are what `ocr-verify groups GROUPS --json SCORES` wrote, for groups without rewards. With `pages`, lines
    name images and prompts, which TRL needs; images inside PDFs and tables are written into a folder beside `out`.
    `out` appears once it is complete.

    Raises:
        ValueError: a line is not a scored group, or is of none of the `pages`; or no group gives a row.
    """
    by_id = None if pages is None else {page.id: page for page in pages}
    rows = desirable = read = without = 0
    widest = 0.0
    with atomic_file(out) as file:
        for group in read_groups(groups, scores, by_id):
            found = options.preferences(group)
            read, without, rows = read + 1, without + (not found), rows + len(found)
            widest = max(widest, largest_margin(group))
            image = image_path(group.group.page, out.with_name(out.stem + "_images")) if pages and found else None
            for preference in found:
                if isinstance(preference, Pair):
                    row = pair_row(preference, image, group.prompt)
                else:
                    row = label_row(preference, image, group.prompt)
                    desirable += preference.desirable
                print(json.dumps(row, allow_nan=False), file=file)
        if not rows:
            raise ValueError(f"{groups}: {_nothing_found(options, widest)}")
    return PreferenceCounts(rows, desirable, read - without, without)


def _nothing_found(options: PairOptions | LabelOptions, widest: float) -> str:
    if isinstance(options, LabelOptions):
        return "no completion is far enough from the threshold; give a lower --dead-zone"
    return (
        f"no two completions of a page are {options.margin:g} apart in reward; the largest difference is {widest:.4g}. "
        "Give a lower --margin, or sample larger groups"
    )

"""`ocr-rl pairs`: preferences from groups of scored completions, as JSON Lines for DPO, KTO and ORPO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.options import (
    DatasetOptions,
    dataset_options,
    groups_argument,
    on_error_option,
    scores_option,
    take,
    writable_file,
)

if TYPE_CHECKING:
    from ocr_rl.rewards.preference_output import LabelOptions, PairOptions
    from ocr_rl.rewards.preferences import Choose
    from ocr_rl.types import Page


@dataclass(frozen=True)
class PreferenceOptions:
    """What was asked for; None for an option that was not given."""

    choose: Choose | None
    margin: float | None
    max_pairs: int | None
    labels: bool
    threshold: float | None
    dead_zone: float | None

    def kind(self) -> PairOptions | LabelOptions:
        """Raises ValueError for an option that would have no effect."""
        from ocr_rl.rewards.preference_output import LabelOptions, PairOptions

        for_pairs = {"--choose": self.choose, "--margin": self.margin, "--most": self.max_pairs}
        for_labels = {"--threshold": self.threshold, "--dead-zone": self.dead_zone}
        if self.labels:
            refuse(for_pairs, "is about pairs; leave it out with --labels")
            return LabelOptions(threshold=self.threshold, dead_zone=self.dead_zone or 0.0)
        refuse(for_labels, "is about labels; add --labels")
        if self.choose != "margin":
            refuse({"--most": self.max_pairs}, "is a bound for --choose margin; leave it out")
        given: dict[str, Any] = {"choose": self.choose, "margin": self.margin, "max_pairs": self.max_pairs}
        return PairOptions(**{name: value for name, value in given.items() if value is not None})


@click.command()
@groups_argument
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=writable_file,
    help="Write a line per pair, or per labelled completion, to this .jsonl file.",
)
@click.option(
    "--choose",
    type=click.Choice(["best-worst", "margin", "best-of-n"]),
    help="For each page, the best completion against the worst; every two that are --margin apart; or the best against "
    "all that are --margin worse.  [default: best-worst]",
)
@click.option(
    "--margin", type=click.FloatRange(min=0, min_open=True), help="Minimum difference in reward.  [default: 0.1]"
)
@click.option(
    "--most", "max_pairs", type=click.IntRange(min=1), help="Maximum pairs per page with --choose margin.  [default: 8]"
)
@click.option("--labels", is_flag=True, help="Label completions as good or bad, for KTO, instead of pairing them.")
@click.option(
    "--threshold", type=float, help="With --labels: minimum reward of a good completion.  [default: its group's mean]"
)
@click.option(
    "--dead-zone",
    type=click.FloatRange(min=0),
    help="With --labels: leave out completions that are this close to the threshold.  [default: 0]",
)
@scores_option
@click.option(
    "--data",
    default="",
    metavar="PATH",
    help="The pages' dataset: lines name their images and prompts, which TRL needs.",
)
@dataset_options
@on_error_option
@click.option(
    "--prompt",
    default="",
    help="Instruction for pages of --data that have none.",
)
@user_errors
def pairs(groups: Path, out: Path, scores: Path | None, **options: Any) -> None:
    """Turn the scored completions in GROUPS, from `ocr-rl rollout`, into preferences.

    \b
    {"id": "p1.png", "images": ["/scans/p1.png"], "prompt": [{"role": "user", "content": [{"type": "image"}]}],
     "chosen": [{"role": "assistant", "content": "..."}], "rejected": [{"role": "assistant", "content": "..."}],
     "chosen_reward": 0.93, "rejected_reward": 0.11, "chosen_finished": true, "rejected_finished": true}
    {"id": ..., "images": ..., "prompt": ..., "completion": [{...}], "label": true, "reward": 0.93, ...}     --labels

    A page whose completions are not far enough apart gives nothing and is counted. The prompt is the conversation that
    GROUPS says the model was asked with, also a preset's; if it says none, the page and its instruction in --data.
    `ocr-rl train dpo` reads the file as pairs.path; TRL's trainers read it if --data was given. Images inside PDFs and
    tables are written into a folder beside OUT.

    \b
    ocr-rl pairs groups.jsonl --out pairs.jsonl
    ocr-rl pairs groups.jsonl --out pairs.jsonl --choose margin --margin 0.2 --data scans/
    ocr-rl pairs groups.jsonl --out labels.jsonl --labels --threshold 0.8 --dead-zone 0.1
    ocr-verify groups groups.jsonl --rubric layout --json scores.jsonl && \\
      ocr-rl pairs groups.jsonl --scores scores.jsonl --out pairs.jsonl
    ocr-rl train dpo --data scans/ --set pairs.path=pairs.jsonl
    """
    from ocr_rl.rewards.preference_output import write_preferences

    dataset = take(DatasetOptions, options)
    chosen = PreferenceOptions(**options)
    counts = write_preferences(groups, out, chosen.kind(), scores, pages_of(dataset, out))
    what = f"{counts.rows} labels, {counts.desirable} of them desirable," if chosen.labels else f"{counts.rows} pairs"
    click.echo(f"{what} of {counts.pages} pages in {out}; {counts.without} pages give none")


def pages_of(dataset: DatasetOptions, out: Path) -> Sequence[Page] | None:
    """None without --data, which the other options are about."""
    if dataset.data:
        return dataset.load(out)
    others = {"--where": dataset.where, "--column": dataset.columns, "--split": dataset.split}
    others |= {"--level": dataset.level, "--cut": dataset.cuts}
    skip = "" if dataset.on_error == "stop" else "skip"
    refuse({**others, "--on-error": skip, "--prompt": dataset.prompt}, "is about a dataset; add --data")
    return None


def refuse(options: Mapping[str, object], why: str) -> None:
    """Raises ValueError for the first of the options that was given."""
    for name, value in options.items():
        if value not in (None, (), ""):
            raise ValueError(f"{name} {why}")

"""A file of groups, scored line by line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ocr_verifiers.files.jsonl import parse_jsonl, read_jsonl
from ocr_verifiers.files.progress import Progress, silent
from ocr_verifiers.rewards.groups import group_row, read_groups
from ocr_verifiers.rewards.rubric import CONSENSUS, Rubric
from ocr_verifiers.rewards.scoring_pool import ScoringPool


@dataclass(frozen=True)
class GroupOptions:
    """Which groups to score, and how."""

    file: Path
    """JSON Lines of groups; `-` is standard input."""
    rubric: Rubric
    processes: int = 1
    timeout: float | None = 60.0
    """Seconds for one completion; None is no limit."""


@dataclass
class GroupSummary:
    """Totals over a file."""

    groups: int = 0
    completions: int = 0
    total: float = 0.0
    """Sum of the rewards."""
    late: int = 0
    """Completions that took longer than the time limit."""
    malformed: int = 0
    """Completions that are not in the rubric's output format."""

    @property
    def mean(self) -> float | None:
        """The mean reward; None without completions."""
        return self.total / self.completions if self.completions else None


def score_group_file(
    options: GroupOptions, write: Callable[[bytes], object], progress: Progress = silent
) -> GroupSummary:
    """Passes the scores of each group to `write` as one line of JSON, in the order of the file."""
    if str(options.file) == "-":
        rows, name = parse_jsonl(sys.stdin.buffer, "<stdin>"), "<stdin>"
    else:
        rows, name = read_jsonl(options.file), str(options.file)
    groups = read_groups(rows, name, options.rubric.compat, labelled=not options.rubric.weights.get(CONSENSUS))
    summary = GroupSummary()
    with ScoringPool(options.rubric, options.processes, options.timeout) as pool:
        for group, scores in progress(pool.score_groups(groups), "groups"):
            # ASCII: readers that split lines at any of Unicode's line ends see one line too.
            write(json.dumps(group_row(group, scores), allow_nan=False).encode("ascii") + b"\n")
            summary.groups += 1
            summary.completions += len(scores)
            summary.total += sum(score.reward for score in scores)
            summary.late += sum(bool(score.trouble) for score in scores)
            summary.malformed += sum(bool(score.malformed) for score in scores)
    return summary

"""Which pages are worth training on: those whose completions differ, and whose best one is far above the mean.

A group whose completions all have the same reward teaches nothing, and a page that is never read better than on average
little. PaddleOCR-VL-1.6 (arXiv 2606.03264) samples each page 16 times and ranks pages before RL; FD-RL (arXiv
2601.08834) keeps those with the highest entropy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Literal, NamedTuple

from ocr_rl.data.indexed import by_id, with_ids
from ocr_rl.data.problems import Location, json_lines
from ocr_rl.rewards.group_files import fail_at, page_name, read_groups
from ocr_rl.runs.atomic import atomic_file
from ocr_rl.types import Page

By = Literal["headroom", "spread", "entropy"]


class Probe(NamedTuple):
    """A page by the rewards of its completions."""

    id: str
    mean: float
    best: float
    spread: float
    """Standard deviation of the rewards."""
    entropy: float
    """Mean of -log probability of the sampled tokens, in nats; 0 if the file does not say."""


SCORES: dict[By, Callable[[Probe], float]] = {
    "headroom": lambda page: (page.best - page.mean) * math.exp(page.entropy + 2 * page.spread**2),
    "spread": lambda page: page.spread,
    "entropy": lambda page: page.entropy,
}
"""headroom: (r_max - r_mean) exp(U + 2 Var r), PaddleOCR-VL-1.6's form with the entropy as the uncertainty U."""


class ProbeCounts(NamedTuple):
    kept: int
    pages: int
    alike: int
    """Pages that are left out because their completions all have the same reward."""


def write_probe(groups: Path, out: Path, by: By, keep: float, scores: Path | None = None) -> ProbeCounts:
    """Write a line for each page that is kept, the highest score first: {id, score, mean, best, spread, entropy}.

    Kept is the share `keep` of all pages in `groups`, which `ocr-rl rollout` wrote; of equal scores the earlier ones.
    `out` appears once it is complete.

    Raises:
        ValueError: a line is not a scored group, or its page is on an earlier line; or no page has completions of
            different rewards.
    """
    probes = read_probes(groups, scores)
    differ = [page for page in probes if page.spread > 0]
    if not differ:
        raise ValueError(
            f"{groups}: of none of the {len(probes)} pages do the completions differ in reward; sample larger groups, "
            "or at a higher temperature"
        )
    kept = sorted(differ, key=lambda page: -SCORES[by](page))[: math.ceil(keep * len(probes))]
    with atomic_file(out) as file:
        for page in kept:
            row = {"id": page.id, "score": SCORES[by](page), **page._asdict()}
            print(json.dumps({key: value if key == "id" else round(value, 6) for key, value in row.items()}), file=file)
    return ProbeCounts(len(kept), len(probes), len(probes) - len(differ))


def read_probes(groups: Path, scores: Path | None = None) -> list[Probe]:
    """The pages of a file of scored groups, in order; those without completions are left out."""
    entropies: dict[str, float] = {}
    lines: dict[str, int | None] = {}
    for place, row in json_lines(groups, fail_at):
        name = page_name(row, place)
        if name in lines:
            fail_at(place.problem("id", f"is {name}, as on line {lines[name]}; keep one group of each page"))
        lines[name], entropies[name] = place.line, _entropy(row, place)
    return [
        Probe(page, fmean(group.rewards), max(group.rewards), pstdev(group.rewards), entropies[page])
        for group in read_groups(groups, scores)
        for page in [group.group.page.id]
    ]


def _entropy(row: dict[str, object], place: Location) -> float:
    tokens, logprobs = row.get("tokens"), row.get("sum_logprobs")
    if not (isinstance(tokens, list) and isinstance(logprobs, list) and len(tokens) == len(logprobs)):
        return 0.0
    if wrong := [n for n in tokens if type(n) is not int or n < 0]:
        fail_at(place.problem("tokens", f"holds {wrong[0]!r}; write the number of tokens of each completion"))
    if wrong := [x for x in logprobs if x is not None and not (type(x) in (int, float) and math.isfinite(x))]:
        fail_at(
            place.problem("sum_logprobs", f"holds {wrong[0]!r}; write a number for each completion, null if unknown")
        )
    known = [(int(n), float(total)) for n, total in zip(tokens, logprobs, strict=True) if total is not None]
    return -sum(total for _, total in known) / max(1, sum(n for n, _ in known))


def probed_pages(file: Path, pages: Sequence[Page], others: Sequence[Page] = ()) -> Sequence[Page]:
    """Those of `pages` that the file names, in the order of `pages`. `others`, the held-out pages, are skipped.

    Raises:
        ValueError: with file and line, if a line has no id, or that of an unknown page; or none of `pages` is named.
    """
    if not file.is_file():
        raise ValueError(f"data.only: {file} does not exist; `ocr-rl probe` writes such a file")
    known, own = by_id(others), by_id(pages)
    named: set[str] = set()
    for place, row in json_lines(file, fail_at):
        name = page_name(row, place)
        if name not in known and name not in own:
            fail_at(place.problem("id", f"is {name}, which is not a page of the recipe's dataset"))
        named.add(name)
    found = with_ids(pages, named)
    if not found:
        raise ValueError(f"data.only: {file} names none of the {len(pages)} pages to train on")
    return found

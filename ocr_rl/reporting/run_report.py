"""The HTML report of a training run: whether and what it learned, what it cost, and what its pages look like."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ocr_rl.config.loader import load_recipe
from ocr_rl.config.schema import Recipe
from ocr_rl.data.indexed import by_id
from ocr_rl.data.loading import recipe_pages
from ocr_rl.metric_names import LOWER_IS_BETTER, RATES
from ocr_rl.reporting.charts.axes import number
from ocr_rl.reporting.charts.curve import Point, curve
from ocr_rl.reporting.evaluation_report import CONFUSIONS, error_section
from ocr_rl.reporting.html import (
    LEGEND,
    diff,
    document,
    folded,
    listing,
    measures,
    name_cell,
    quality,
    rate_rows,
    section,
    sheet,
    table,
    text,
    why_malformed,
)
from ocr_rl.runs.atomic import write_atomically
from ocr_rl.runs.environment import environment
from ocr_rl.runs.folder import RunFolder
from ocr_rl.runs.idle_steps import lasting
from ocr_rl.types import Page
from ocr_verifiers.metrics.confusions import error_table
from ocr_verifiers.text.normalize import nfc, whitespace

SHOWN = 4
"""Pages in each list."""
LARGEST_GROUP = 16
"""Maximum number of completions that are shown of a group."""

_MAIN = ("reward", "cer", "pass_rate")
_SHARES = {
    *RATES,
    "reward_std",
    "clip_fraction",
    "truncated_fraction",
    "zero_advantage_fraction",
    "mismatch/ess",
    "mismatch/weight",
}
_PHASES = ("generate", "score", "learn", "evaluate", "sync")

Metrics = Sequence[Mapping[str, Any]]


def close_with_report(run: RunFolder, say: Callable[[str], None], pages: Sequence[Page] | None = None) -> None:
    """Write RUN/report.html. The run is done and saved, so an error in its report is a message and does not fail it."""
    try:
        write_atomically(run.path / "report.html", run_report(run, pages))
    except Exception as error:
        say(f"no report ({type(error).__name__}: {error}); to try again: ocr-rl report {run.path}")


def run_report(run: RunFolder, pages: Sequence[Page] | None = None) -> str:
    """The whole file, from the run folder; `pages`, if given, are those of the recipe's dataset.

    A run that was stopped, or is still running, has a report of what it has written so far.

    Raises:
        ValueError: the folder holds no run, or its recipe cannot be read.
    """
    recipe = load_recipe(str(run.path / "resolved.toml"))
    metrics = [step.metrics for step in run.logged()]
    before, after = run.read_eval("before"), run.read_eval("after")
    missing = ""
    if pages is None:
        pages, missing = dataset(run, recipe)
    known = by_id(pages)
    evaluations = {name: found for name, found in (("before", before), ("after", after)) if found is not None}
    sections = [
        *_warnings(metrics, after),
        _summary(evaluations),
        *_curves(comparable(metrics, recipe), before, after),
        _time(metrics),
        *_pages(before, after, known, missing),
        _errors(after),
        _rollouts(run, len(metrics), known),
        section("Environment", listing(environment(run))),
        section(
            "Configuration",
            folded("resolved.toml", f"<pre>{text((run.path / 'resolved.toml').read_text(encoding='utf-8'))}</pre>\n"),
        ),
    ]
    name = run.path.resolve().name
    about = [f"{recipe.algorithm}, policy {recipe.model.path}, seed {recipe.train.seed}"]
    planned = f" of {recipe.train.steps:,}" if recipe.train.steps else ""
    about.append(f"{len(metrics):,}{planned} steps")
    if metrics:
        about.append(duration(metrics[-1]["time_s"]))
    if recipe.reward.permute:
        about.append("control: rewards permuted within each group")
    if (best := run.best()) is not None:
        which = best["step"] or "the start"
        about.append(f"best step by {best['metric']}: {which} ({best['value']:.3f})")
    return document(name, "; ".join(about), sections)


def _errors(after: Mapping[str, Any] | None) -> str:
    """Which characters and words are read as which after training; "" without references."""
    rows = [row for row in after["pages"] if row.get("reference") is not None] if after is not None else []
    texts = ((row["id"], whitespace(nfc(row["reference"])), whitespace(nfc(row["text"]))) for row in rows)
    return error_section(error_table(texts).as_dict(CONFUSIONS)) if rows else ""


def _warnings(metrics: Metrics, after: Mapping[str, Any] | None) -> Iterator[str]:
    """A box for each alarm, and for each stretch of steps that taught nothing."""
    alarmed = [(f"step {row['step']}", line) for row in metrics for line in row.get("eval/alarms", ())]
    alarmed += [("after training", line) for line in (after or {}).get("alarms", ())]
    for when, line in alarmed:
        yield f'<p class="warning" role="alert">{text(f"{when}: {line}")}</p>\n'
    for stretch in lasting(metrics):
        yield f'<p class="warning" role="alert">{text(str(stretch))}</p>\n'


def dataset(run: RunFolder, recipe: Recipe) -> tuple[Sequence[Page], str]:
    """The pages of a run, or why they cannot be read: a dataset may have moved, or be on another machine."""
    rendered = run.path / "pages"
    try:
        return recipe_pages(recipe, rendered), ""
    except (ValueError, OSError, ImportError) as error:
        return (), f"{recipe.data.path or rendered} cannot be read here, so there are no images: {error}"


def duration(seconds: float) -> str:
    """4 min 5 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _summary(evaluations: Mapping[str, Mapping[str, Any]]) -> str:
    """Before and after, and the change if there are both."""
    if not evaluations:
        return ""
    rows = list(rate_rows(list(evaluations.values())))
    heads = ["", *evaluations]
    if len(evaluations) == 2:
        before, after = evaluations.values()
        heads.append("change")
        changes = [_change(name, one.get(name), other.get(name)) for name, one, other in _pairs(before, after)]
        rows = [[*row, change] for row, change in zip(rows, changes, strict=True)]
    sizes = ", ".join(
        f"{name}: {own['n']:,} pages of {own['documents']:,} documents" for name, own in evaluations.items()
    )
    note = f"Greedy transcriptions of held-out pages; small numbers: 95 % bootstrap intervals over documents. {sizes}."
    return section("Before and after", table("summary", heads, rows), note=text(note))


def _pairs(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """The rows of `rate_rows`, as (name, before, after)."""
    kinds = sorted({*before.get("by_kind", {}), *after.get("by_kind", {})})
    for name in RATES:
        if before.get(name) is not None or after.get(name) is not None:
            yield name, before, after
        if name == "pass_rate":
            for kind in kinds:
                yield name, before.get("by_kind", {}).get(kind, {}), after.get("by_kind", {}).get(kind, {})


def _change(name: str, before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "–"
    change = after - before
    tone = "" if not round(change, 3) else "better" if (change < 0) == (name in LOWER_IS_BETTER) else "worse"
    relative = f"<small>{change / before:+.0%}</small>" if before else ""
    return f'<span class="{tone}">{change:+.3f}</span>{relative}'


def points(metrics: Metrics, name: str) -> list[Point]:
    """A metric's curve, without the steps at which it is null or not finite."""
    found = []
    for row in metrics:
        value, interval = row.get(name), row.get(f"{name}_ci")
        if isinstance(value, int | float) and math.isfinite(value):
            found.append(Point(row["step"], value, (interval[0], interval[1]) if interval else None))
    return found


def comparable(metrics: Metrics, recipe: Recipe) -> Metrics:
    """Without evaluations of other held-out pages than those before and after training: a step was chosen by them."""
    if recipe.data.evaluate != "test" or not recipe.train.chooses:
        return metrics
    return [{name: value for name, value in row.items() if not name.startswith("eval/")} for row in metrics]


def held_out(metrics: Metrics, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Metrics:
    """The evaluations as rows of metrics without "eval/": at step 0, during training, and after the last step."""
    rows = [_flat(before) | {"step": 0}] if before is not None else []
    last = metrics[-1]["step"] if metrics else 0
    for row in metrics:
        found = {name.removeprefix("eval/"): value for name, value in row.items() if name.startswith("eval/")}
        if found and not (after is not None and row["step"] == last):
            rows.append(found | {"step": row["step"]})
    if after is not None and metrics:
        rows.append(_flat(after) | {"step": last})
    return rows


def _flat(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    flat = dict(evaluation)
    for kind, own in evaluation.get("by_kind", {}).items():
        flat |= {f"pass_rate/{kind}": own["pass_rate"], f"pass_rate/{kind}_ci": own["pass_rate_ci"]}
    return flat


def _curves(metrics: Metrics, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Iterator[str]:
    if not metrics:
        return
    evaluated = held_out(metrics, before, after)
    logged = dict.fromkeys(name for row in metrics for name in row)
    own_axes = [name for name in logged if not name.startswith(("eval/", "time/")) and name not in ("step", "time_s")]
    kinds = {f"pass_rate/{kind}" for row in (before, after) if row for kind in row.get("by_kind", {})}
    kinds |= {name for name in own_axes if name.startswith("pass_rate/")}
    parts = [name for name in own_axes if name.startswith("reward/")]
    rest = [name for name in own_axes if name not in {*_MAIN, *kinds, *parts}]

    def figures(names: Sequence[str], small: bool = True) -> str:
        drawn = "".join(_figure(name, points(metrics, name), points(evaluated, name), small) for name in names)
        return f'<div class="{"curves small" if small else "curves"}">{drawn}</div>\n' if drawn else ""

    note = (
        'Per step: <span class="stroke">━</span> completions of the training pages, sampled (the thick line is a '
        'running mean over a tenth of the steps); <span class="dot">●</span> held-out pages, greedy, with 95 % '
        "intervals. Value axes do not start at 0."
    )
    yield section("Curves", figures(_MAIN, small=False), note=note)
    yield section("Parts of the reward", figures(parts), note="Means over the completions of a step.")
    yield section("Kinds of tests", figures(sorted(kinds)), note="Of each kind, passed tests over all tests.")
    yield section("Training", figures(rest))


def _figure(name: str, line: Sequence[Point], dots: Sequence[Point], small: bool) -> str:
    size = (210, 120) if small else (320, 170)
    drawn = curve(name, line, dots, share=name in _SHARES or name.startswith(("reward/", "pass_rate/")), size=size)
    if not drawn:
        return ""
    ends = [points for points in (line, dots) if points]
    label = name_cell(name.removeprefix("reward/").removeprefix("pass_rate/"))
    first, last = ends[0][0].value, ends[0][-1].value
    return (
        f'<figure data-metric="{text(name)}"><figcaption><b>{label}</b>'
        f"<span>{number(first)} → {number(last)}</span></figcaption>{drawn}</figure>\n"
    )


def _time(metrics: Metrics) -> str:
    """Seconds by phase; what no phase accounts for is saving and logging."""
    if not metrics:
        return ""
    total = metrics[-1]["time_s"]
    phases = {name: sum(_phase(row, name) for row in metrics) for name in _PHASES}
    phases = {name: seconds for name, seconds in phases.items() if seconds >= 0.0005 * total}
    phases["other"] = max(0.0, total - sum(phases.values()))
    whole = sum(phases.values()) or 1.0
    bars, at, rows = [], 0.0, []
    for name, seconds in phases.items():
        tone = f"phase-{(*_PHASES, 'other').index(name)}"
        share = seconds / whole
        bars.append(f'<rect class="{tone}" x="{100 * at:.2f}" y="0" width="{100 * share:.2f}" height="10"/>')
        at += share
        each = f"{seconds / len(metrics):.2f} s"
        rows.append([f'<i class="phase {tone}"></i>{name}', duration(seconds), f"{share:.0%}", each])
    bar = f'<svg class="split" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{"".join(bars)}</svg>'
    return section(
        "Time",
        bar,
        table("time", ["", "in all", "share", "per step"], rows),
        note="Without the evaluations before and after; other: saving, logging, and what interruptions repeated.",
    )


def _phase(row: Mapping[str, Any], name: str) -> float:
    """Seconds of a step; of generation only those that the trainer waited for it, which are fewer if it runs ahead."""
    seconds: float = row.get(f"time/{name}") or 0.0
    if name == "generate" and "time/wait" in row:
        waited: float = row["time/wait"] - sum(row.get(f"time/{part}") or 0.0 for part in ("sync", "score"))
        return min(seconds, max(0.0, waited))
    return seconds


def _pages(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, pages: Mapping[str, Page], missing: str
) -> Iterator[str]:
    """The most improved pages, those that lost most, and the worst after training, or before it if it did not end."""
    last = after or before
    if last is None:
        return
    then = {row["id"]: row for row in before["pages"]} if before is not None and after is not None else {}
    now = {row["id"]: row for row in last["pages"]}
    gain = {id: quality(now[id]) - quality(then[id]) for id in now if id in then}

    def sheets(ids: Sequence[str]) -> str:
        return "".join(_sheet(now[id], then.get(id), pages.get(id)) for id in ids)

    note = f"{LEGEND} {text(missing)}".strip()
    by_gain = sorted(gain, key=lambda id: (-gain[id], id))
    yield section("Most improved pages", sheets([id for id in by_gain if gain[id] > 0][:SHOWN]), note=note)
    yield section("Pages that lost most", sheets([id for id in reversed(by_gain) if gain[id] < 0][: SHOWN // 2]))
    worst = sorted(now, key=lambda id: (quality(now[id]), id))[:SHOWN]
    title = "Worst pages afterwards" if after is not None else "Worst pages before training"
    yield section(title, sheets(worst), note="" if gain else note)


def _sheet(now: Mapping[str, Any], then: Mapping[str, Any] | None, page: Page | None) -> str:
    reference = now.get("reference") or (page.text if page is not None else None)

    if then is None:
        outputs = [("transcription", diff(reference, now["text"]) + why_malformed(now))]
        return sheet(now["id"], measures(now), page, outputs)
    outputs = [
        (f"before: {measures(then)}", diff(reference, then["text"])),
        (f"after: {measures(now)}", diff(reference, now["text"]) + why_malformed(now)),
    ]
    return sheet(now["id"], measures(then, now), page, outputs)


def _rollouts(run: RunFolder, step: int, pages: Mapping[str, Page]) -> str:
    """The group of the newest step whose rewards differ most: what GRPO learns from."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in run.read_rollouts(step):
        groups.setdefault(row["page"], []).append(row)
    if not groups:
        return ""
    id, rows = max(groups.items(), key=lambda item: _spread([row["reward"] for row in item[1]]))
    page = pages.get(id)
    shown = sorted(rows, key=lambda row: -row["advantage"])
    if len(shown) > LARGEST_GROUP:
        shown = [*shown[: LARGEST_GROUP // 2], *shown[-LARGEST_GROUP // 2 :]]
    parts = list(dict.fromkeys(name for row in rows for name in row["parts"]))
    body = [
        [
            f"<b>{row['advantage']:+.2f}</b>",
            f"{row['reward']:.3f}",
            diff(page.text if page is not None else None, row.get("markdown", row["completion"])) + why_malformed(row),
            *(f"{row['parts'][name]:.2f}" if name in row["parts"] else "–" for name in parts),
            f"{sum(row['tests'].values())}/{len(row['tests'])}" if row["tests"] else "–",
            text(row["finish_reason"]),
        ]
        for row in shown
    ]
    heads = ["advantage", "reward", "completion", *parts, "tests", "ended by"]
    note = f"Step {step}, the page whose completions differ most in reward. "
    if len(shown) < len(rows):
        note += f"The best and the worst {LARGEST_GROUP // 2} of {len(rows)}. "
    picture = sheet(id, f"{len(rows)} completions", page, [])
    return section("One group of completions", picture, table("rollouts", heads, body), note=text(note) + LEGEND)


def _spread(rewards: Sequence[float]) -> float:
    return max(rewards) - min(rewards)

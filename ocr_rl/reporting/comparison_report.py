"""The HTML report of `ocr-rl compare`: which recipe is best, how certain that is, what it costs, and why."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ocr_rl.comparison.outcome import (
    ALPHA,
    FELL,
    MEASURES,
    Recipes,
    found_of,
    listed,
    measured,
    outcome,
    parts_that_fell,
    ranked,
    verdict,
)
from ocr_rl.metric_names import LOWER_IS_BETTER
from ocr_rl.reporting.charts.axes import SMOOTHED_FROM, number, smoothing_window
from ocr_rl.reporting.charts.series import Estimate, Series, forest, legend, mean_over_seeds, plot, smoothed, swatch
from ocr_rl.reporting.html import LEGEND, diff, document, folded, listing, name_cell, rate, section, sheet, table, text
from ocr_rl.types import Page


def comparison_report(compared: Mapping[str, Any], pages: Mapping[str, Page]) -> str:
    """The whole file, from what `ocr-rl compare` writes as compare.json and the test pages by id, for their images."""
    recipes, settings = compared["recipes"], compared["settings"]
    seeds = len(settings["seeds"])
    about = [
        f"{_count(len(recipes), 'recipe')} × {_count(seeds, 'seed')}",
        f"{_budget(settings['budget'])} each",
        f"tested on {compared['start']['n']:,} pages of {compared['start']['documents']:,} documents",
        f"at the start {_start_values(compared['start'])}",
    ]
    looks = {name: place for place, name in enumerate(recipes)}
    return document(
        "Comparison",
        "; ".join(about),
        [
            section("Outcome", "".join(f'<p class="outcome">{text(said)}</p>\n' for said in outcome(compared))),
            _results(compared, looks),
            *_learning(recipes, looks),
            *_training(compared, looks),
            _entropy(recipes, looks),
            _cost(compared, looks),
            _tuning(compared, looks),
            _seeds(compared, looks),
            _pages(compared, pages),
            section("Settings", listing({name: _setting(value) for name, value in settings.items()})),
            section("Environment", listing(compared["environment"])),
        ],
    )


def _results(compared: Mapping[str, Any], looks: Mapping[str, int]) -> str:
    recipes: Recipes = compared["recipes"]
    start, reference = compared["start"], compared["settings"]["reference"]
    shown = measured(compared)
    best = {name: _best(name, [found_of(own, "final", name) for own in recipes.values()]) for name in shown}
    compared_by = [name for name in ("cer", "pass_rate") if name in shown] if len(recipes) > 1 else []
    rows = [["start", "", "", *(rate(start, name) for name in shown), *("" for _ in compared_by)]]
    for name in ranked(compared):
        own = recipes[name]
        values = [_final(own, one, best[one]) for one in shown]
        differences = [
            "reference" if name == reference else _difference(one, found_of(own, "against", one), "p_holm")
            for one in compared_by
        ]
        rows.append([_named(name, looks), _rate(own["rate"]), _seeds_ended(own), *values, *differences])
    heads = ["", "rate", "seeds", *(MEASURES[name] for name in shown)]
    heads += [f"{MEASURES[name]} against {reference}" for name in compared_by]
    figures = "".join(_forest(compared, name, looks) for name in shown if name != "exact")
    note = (
        "Greedy transcriptions of test pages, all seeds together. Small numbers: 95 % bootstrap intervals over "
        "documents and seeds, which are rough with so few seeds."
    )
    if len(recipes) > 1:
        note += (
            " Underlined: the best value of its column; the best of several is overestimated, because it was chosen on "
            "the pages that it is measured on. p: two-sided permutation test over documents, corrected by Holm's "
            "method; it takes no account of other seeds. A difference is significant if p is under "
            f"{ALPHA:g} and the interval excludes 0; not significant does not mean equal."
        )
    return section(
        "Results",
        table("results", heads, rows),
        f'<div class="curves series">{figures}</div>\n' if figures else "",
        folded("Change from the start", _gains(compared, shown, looks)),
        note=text(note),
    )


def _gains(compared: Mapping[str, Any], shown: Sequence[str], looks: Mapping[str, int]) -> str:
    rows = [
        [
            _named(name, looks),
            *(_difference(one, found_of(compared["recipes"][name], "gain", one), "p") for one in shown),
        ]
        for name in ranked(compared)
    ]
    note = '<p class="note">p: two-sided, not corrected for the number of recipes.</p>\n'
    return table("gains", ["", *(MEASURES[name] for name in shown)], rows) + note


def _forest(compared: Mapping[str, Any], name: str, looks: Mapping[str, int]) -> str:
    finals = {recipe: compared["recipes"][recipe]["final"] for recipe in ranked(compared)}
    estimates = [
        Estimate(recipe, looks[recipe], final[name], final[f"{name}_ci"]) for recipe, final in finals.items() if final
    ]
    return _figure(f"final/{name}", forest(MEASURES[name], estimates, compared["start"][name]))


def _learning(recipes: Recipes, looks: Mapping[str, int]) -> Iterator[str]:
    """Rates on the test pages over completions and compute, then their kinds of tests."""
    shown = ("cer", "pass_rate", "reward")
    rows = []
    drawn = {name: look for name, look in looks.items() if recipes[name]["curves"]}
    without = [name for name in drawn if not _sampled(recipes[name])]
    for x, x_name in (("completions", "completions"), ("compute_s", "compute seconds")):
        own = {name: recipes[name] for name in recipes if x != "completions" or name not in without}
        plots = "".join(_plot(own, looks, x, x_name, f"eval/{name}", MEASURES[name]) for name in shown)
        rows.append(f'<h3>Over {x_name}</h3>\n<div class="curves series">{plots}</div>\n' if plots else "")
    note = (
        "Greedy transcriptions of test pages: the mean over the seeds, behind it the range of the seeds. Seeds whose "
        "run stopped are left out. Value axes do not start at 0."
    )
    if without:
        note += f" Shown only over compute, as no completions are sampled: {listed(without)}."
    if any(rows):
        yield section("Learning curves", legend(drawn), *rows, note=text(note))
    kinds = sorted(name for name in _logged(recipes) if name.startswith("eval/pass_rate/"))
    plots = "".join(
        _plot(recipes, looks, "compute_s", "compute seconds", name, name.removeprefix("eval/pass_rate/"), small=True)
        for name in kinds
    )
    if plots:
        note = "Passed tests of each kind on the test pages, over compute."
        yield section("Kinds of tests", legend(drawn), f'<div class="curves small">{plots}</div>\n', note=note)


def _training(compared: Mapping[str, Any], looks: Mapping[str, int]) -> Iterator[str]:
    """Rewards of the completions trained on, and their parts; then the parts that fell while the reward rose."""
    recipes: Recipes = compared["recipes"]
    sampled = {name: own for name, own in recipes.items() if _sampled(own)}
    looked = {name: looks[name] for name in sampled}
    main = _plot(sampled, looks, "completions", "completions", "reward", "reward", smooth=True)
    parts = "".join(
        _plot(sampled, looks, "completions", "completions", name, _part_name(name), small=True, smooth=True)
        for name in _logged(sampled)
        if name.startswith(("reward/", "pass_rate/"))
    )
    note = (
        "Sampled completions of training pages over the completions so far, mean over the seeds; from "
        f"{SMOOTHED_FROM} steps on, a running mean over a tenth of them."
    )
    yield section(
        "Training curves",
        legend(looked) if main or parts else "",
        f'<div class="curves series">{main}</div>\n' if main else "",
        f'<h3>Parts of the reward and kinds of tests</h3>\n<div class="curves small">{parts}</div>\n' if parts else "",
        note=text(note),
    )
    rows = [
        [
            _named(name, looks),
            f"{compared['start']['reward']:.3f} → {recipes[name]['final']['reward']:.3f}",
            name_cell(part),
            f"{before:.3f}",
            f"{after:.3f}",
            f'<b class="worse">{after - before:+.3f}</b>',
        ]
        for name, part, before, after in parts_that_fell(compared)
    ]
    note = (
        f"Worse on the test pages by more than {FELL:g} from the start to the end, while the reward rose: a mean that "
        "rises can hide a part that gets worse."
    )
    body = table("fell", ["", "reward", "part", "start", "end", "change"], rows) if rows else "<p>None.</p>\n"
    yield section("Parts that fell", body, note=text(note))


def _entropy(recipes: Recipes, looks: Mapping[str, int]) -> str:
    rows = [
        [_named(name, looks), *(_short(found_of(own, "drift", key)) for key in ("entropy", "kl"))]
        for name, own in recipes.items()
        if own["drift"]
    ]
    plots = "".join(
        _plot(recipes, looks, "compute_s", "compute seconds", name, label, smooth=True)
        for name, label in (("entropy", "entropy, nats per token"), ("kl", "KL, nats per token"))
    )
    looked = {name: look for name, look in looks.items() if recipes[name]["curves"]}
    note = (
        "The table: samples of the trained policies on the test pages; KL to the policy at the start. "
        "The curves: what a trainer logs of its own batches, if it does."
    )
    return section(
        "Entropy and KL",
        table("drift", ["", "entropy, nats per token", "KL to the start, nats per token"], rows) if rows else "",
        f'{legend(looked)}<div class="curves series">{plots}</div>\n' if plots else "",
        note=text(note if plots else note.partition(" The curves")[0]),
    )


def _cost(compared: Mapping[str, Any], looks: Mapping[str, int]) -> str:
    recipes: Recipes = compared["recipes"]
    columns = {
        "steps": "steps",
        "completions": "completions",
        "pages": "pages",
        "tokens": "sampled tokens",
        "compute_s": "compute, s",
        "peak_memory_mib": "peak memory, MiB",
    }
    rows = [
        [_named(name, looks), *(f"{own['cost'][key]:,.0f}" for key in columns), text(listed(own["cost"]["models"]))]
        for name, own in recipes.items()
        if own["cost"]
    ]
    note = (
        "Per run, mean over the seeds, without tuning and evaluations. Compute: CPU seconds of all its processes; on "
        "a GPU, wall-clock seconds. Models: those in memory during training."
    )
    given = [name for name, own in recipes.items() if own["curves"] and not own["own_budget"]]
    if given:
        note += f" Trained for the compute of the reference, as not all steps sample completions: {listed(given)}."
    return section("Cost", table("cost", ["", *columns.values(), "models"], rows) if rows else "", note=text(note))


def _tuning(compared: Mapping[str, Any], looks: Mapping[str, int]) -> str:
    settings = compared["settings"]
    measure = settings["chosen_by"]
    recipes: Recipes = compared["recipes"]
    tuned = {name: {float(at): found for at, found in own["tuning"].items()} for name, own in recipes.items()}
    rates = sorted({at for found in tuned.values() for at in found})
    if not rates:
        return ""
    rows, edges = [], []
    for name, found in tuned.items():
        chosen = recipes[name]["rate"]
        cells = [_tuned(found.get(at), measure, math.isclose(at, chosen, rel_tol=1e-5)) for at in rates]
        rows.append([_named(name, looks), *cells])
        for edge, at in (("lowest", min(found)), ("highest", max(found))) if len(found) > 1 else ():
            if math.isclose(at, chosen, rel_tol=1e-5):
                edges.append(f"{name} ({_rate(chosen)}, the {edge})")
    note = (
        f"The {MEASURES[measure]} on {compared['pages']['tuning']:,} tuning pages, which are neither training nor test "
        f"pages, after one run with seed {settings['tuning_seed']} and {settings['tuning_share']:.0%} of the "
        "budget. Underlined: chosen."
    )
    beyond = f"At the edge of the grid, so a better rate may lie beyond it: {listed(edges)}." if edges else ""
    return section(
        "Tuning",
        table("tuning", ["learning rate", *map(_rate, rates)], rows),
        f'<p class="note">{text(beyond)}</p>\n' if beyond else "",
        note=text(note),
    )


def _tuned(found: Mapping[str, Any] | None, measure: str, chosen: bool) -> str:
    if found is None:
        return "–"
    if found["failed"]:
        return f'<span class="failed">{text(found["failed"])}</span>'
    others = [name for name in MEASURES if name != measure and found.get(name) is not None]
    beside = "".join(f"<small>{MEASURES[name]} {found[name]:.3f}</small>" for name in others)
    value = f"<b>{found[measure]:.3f}</b>" if found.get(measure) is not None else "–"
    return (f'<span class="best">{value}</span>' if chosen else value) + beside


def _seeds(compared: Mapping[str, Any], looks: Mapping[str, int]) -> str:
    shown, rows = measured(compared), []
    for name, own in compared["recipes"].items():
        for seed in sorted({*own["seeds"], *own["failed"]}, key=int):
            found = own["seeds"].get(seed)
            values = [_value((found or {}).get(measure)) for measure in shown]
            about = text((found or {}).get("path", ""))
            if seed in own["failed"]:
                about = f'<span class="failed">{text(own["failed"][seed])}</span>'
            rows.append([_named(name, looks), text(seed), *values, about])
    return section(
        "Seeds", table("seeds", ["", "seed", *(MEASURES[name] for name in shown), "run"], rows) if rows else ""
    )


def _pages(compared: Mapping[str, Any], pages: Mapping[str, Page]) -> str:
    """Each with its image and the diffs of both recipes."""
    shown = []
    for row in compared["differing_pages"]:
        triples = zip(row["recipes"], row["rewards"], row["texts"], strict=True)
        outputs = [(f"{name}: reward {reward:.3f}", diff(row["reference"], read)) for name, reward, read in triples]
        gap = max(row["rewards"]) - min(row["rewards"])
        shown.append(sheet(row["id"], f"rewards {gap:.3f} apart", pages.get(row["id"]), outputs))
    return section("Pages on which two recipes differ most", "".join(shown), note=LEGEND)


def _plot(
    recipes: Recipes,
    looks: Mapping[str, int],
    x: str,
    x_name: str,
    name: str,
    label: str,
    *,
    small: bool = False,
    smooth: bool = False,
) -> str:
    """A figure of a column of the curves; a `small` one has neither names, which the legend has, nor ranges."""
    series = []
    for recipe, own in recipes.items():
        readings = mean_over_seeds(_curves(own), x, name)
        if smooth or small:
            readings = smoothed(readings, smoothing_window(len(readings)) if smooth else 1)
        series.append(Series(recipe, looks[recipe], readings))
    size = (230, 150) if small else (360, 230)
    share = name not in ("entropy", "kl")
    return _figure(name, plot(label, x_name, series, share=share, labelled=not small, size=size))


def _figure(name: str, drawn: str) -> str:
    return f'<figure data-metric="{text(name)}">{drawn}</figure>\n' if drawn else ""


def _curves(own: Mapping[str, Any]) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Of the seeds that reached their end; of all seeds if none did."""
    curves: Mapping[str, Sequence[Mapping[str, Any]]] = own["curves"]
    return {seed: rows for seed, rows in curves.items() if seed not in own["failed"]} or curves


def _logged(recipes: Recipes) -> list[str]:
    """The columns of all curves, in their order."""
    rows = (row for own in recipes.values() for rows in own["curves"].values() for row in rows)
    return list(dict.fromkeys(name for row in rows for name in row))


def _sampled(own: Mapping[str, Any]) -> bool:
    """Whether its trainer samples completions; SFT has 0 of them at every step."""
    return any(row["completions"] for rows in own["curves"].values() for row in rows)


def _part_name(column: str) -> str:
    return column.removeprefix("reward/").removeprefix("pass_rate/")


def _best(measure: str, values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return None if len(known) < 2 else min(known) if measure in LOWER_IS_BETTER else max(known)


def _final(own: Mapping[str, Any], measure: str, best: float | None) -> str:
    value = found_of(own, "final", measure)
    cell = rate(own["final"] or {}, measure)
    return f'<span class="best">{cell}</span>' if value is not None and value == best else cell


def _difference(measure: str, found: Mapping[str, Any] | None, p: str) -> str:
    """With its interval and p-value, coloured if it is significant."""
    if found is None:
        return "–"
    change, (low, high) = found["difference"], found["difference_ci"]
    kind = verdict(found, measure, p)
    tone = "" if kind == "unclear" else kind
    return (
        f'<b class="{tone}">{change:+.3f}</b><small>{low:+.3f} to {high:+.3f}</small><small>p = {found[p]:.4f}</small>'
    )


def _named(name: str, looks: Mapping[str, int]) -> str:
    return f'<span class="named">{swatch(looks[name])}{text(name)}</span>'


def _seeds_ended(own: Mapping[str, Any]) -> str:
    ended, failed = len(own["seeds"]), len(own["failed"])
    return f'{ended} <small class="failed">{failed} stopped</small>' if failed else str(ended)


def _rate(rate: float) -> str:
    """3e-5."""
    digits, _, exponent = f"{rate:.2e}".partition("e")
    return f"{float(digits):g}e{int(exponent)}"


def _value(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _short(value: float | None) -> str:
    return "–" if value is None else number(value)


def _start_values(start: Mapping[str, Any]) -> str:
    return ", ".join(f"{label} {start[name]:.3f}" for name, label in MEASURES.items() if start.get(name) is not None)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _budget(budget: Mapping[str, float]) -> str:
    """6,144 completions."""
    return " and ".join(f"{value:,.10g} {name.replace('_', ' ')}" for name, value in budget.items() if value)


def _setting(value: object) -> object:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value

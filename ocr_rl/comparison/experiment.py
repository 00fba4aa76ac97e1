"""Several recipes under one budget: tuned alike, trained with several seeds, and what came of them side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from ocr_rl.comparison.plan import Plan, Trial, final_trial, own_budget, tuning_trial
from ocr_rl.comparison.significance import Runs, differences, holm, most_different_pages, summary
from ocr_rl.comparison.trial_results import cost, curve, evaluated, measured_drift, models_held, why_stopped
from ocr_rl.comparison.trial_runs import is_done, run_trials
from ocr_rl.data.splits import SPLIT_SEED, split_pages, tuning_and_test
from ocr_rl.evaluation.predictions import read_predictions
from ocr_rl.evaluation.results import PageEvaluation, score_pages
from ocr_rl.rewards.reward_function import RewardFunction, make_rubric
from ocr_rl.runs.atomic import write_atomically
from ocr_rl.runs.environment import environment
from ocr_rl.runs.folder import RunFolder
from ocr_rl.types import Page

CHOSEN_BY = "reward"
"""Of the tuning pages: every page has one."""
DIFFERING_PAGES = 5
Which = TypeVar("Which", int, float)
"""A seed, or a learning rate."""
Trials = dict[tuple[str, Which], Trial]
"""By label of the recipe and seed or rate."""


def run_experiment(plan: Plan, pages: Sequence[Page], jobs: int) -> dict[str, Any]:
    """Run what is not done yet; the contents of compare.json."""
    tuning = run_phase(plan, "tuning", partial(tuning_trial, plan), plan.rates, jobs)
    rates = {label: chosen_rate(plan, label, tuning) for label in plan.recipes}

    def final(label: str, seed: int, seconds: float | None) -> Trial:
        return final_trial(plan, label, rates[label], seed, seconds)

    return results(plan, pages, rates, tuning, run_phase(plan, "training", final, plan.seeds, jobs))


def run_phase(
    plan: Plan, what: str, make: Callable[[str, Which, float | None], Trial], which: Sequence[Which], jobs: int
) -> Trials[Which]:
    """All recipes with the first seed (or rate) come before those with the second.

    Recipes without a budget of their own come last: they get the compute seconds of the reference's runs.
    """
    alone = [(label, x) for x in which for label, recipe in plan.recipes.items() if own_budget(plan, recipe)]
    given = [(label, x) for x in which for label in plan.recipes if (label, x) not in alone]
    with tqdm(total=len(alone) + len(given), desc=what, unit="run", disable=not which) as bar:

        def train(trials: Sequence[Trial]) -> None:
            bar.update(sum(map(is_done, trials)))
            run_trials(trials, jobs, begun, ended)

        def begun(trial: Trial) -> None:
            bar.set_postfix_str(f"{trial.label} {trial.name}")

        def ended(trial: Trial) -> None:
            bar.update()
            tqdm.write(progress_line(trial))

        trials = {(label, x): make(label, x, None) for label, x in alone}
        train(list(trials.values()))
        if given:
            seconds = reference_seconds({x: trials[plan.reference, x] for x in which})
            more = {(label, x): make(label, x, seconds[x]) for label, x in given}
            train(list(more.values()))
            trials |= more
    return trials


def reference_seconds(trials: Mapping[Which, Trial]) -> dict[Which, float]:
    """Compute seconds that the reference's runs have used. One that was stopped counts as the lowest seed, or rate."""
    seconds = {x: cost(trial)["compute_s"] for x, trial in trials.items() if not trial.stopped.exists()}
    if not seconds:
        raise ValueError(f"no run of the reference came to its end: see {next(iter(trials.values())).stopped}")
    return {x: round(seconds.get(x, seconds[min(seconds)]), 1) for x in trials}


def progress_line(trial: Trial) -> str:
    """A line on a run that is over."""
    name = f"{trial.label} {trial.name}"
    if trial.stopped.exists():
        return f"{name}: {why_stopped(trial)}"
    before, after = (evaluated(trial, which) for which in ("before", "after"))
    rates = [
        f"{rate} {before[rate]:.3f} -> {after[rate]:.3f}"
        for rate in ("cer", "pass_rate", "reward")
        if after[rate] is not None
    ]
    return f"{name}: {', '.join(rates)}; {cost(trial)['compute_s']:.0f} s"


def chosen_rate(plan: Plan, label: str, tuning: Trials[float]) -> float:
    """The learning rate with the highest reward on the tuning pages, the lower one of equals."""
    if not plan.rates:
        return plan.recipes[label].train.learning_rate
    rewards = {
        rate: evaluated(tuning[label, rate], "after")[CHOSEN_BY]
        for rate in sorted(plan.rates)
        if not tuning[label, rate].stopped.exists()
    }
    if not rewards:
        raise ValueError(f"{label} came to its end at no learning rate; try lower --rates, or leave it out")
    return max(rewards, key=lambda rate: rewards[rate])


def results(
    plan: Plan, pages: Sequence[Page], rates: Mapping[str, float], tuning: Trials[float], final: Trials[int]
) -> dict[str, Any]:
    """What the finished runs show on the test pages. Raises ValueError if the reference has no run that ended."""
    recipe = plan.recipes[plan.reference]
    train, held_out = split_pages(pages, recipe.data.validation, SPLIT_SEED)
    most = recipe.train.eval_pages or None
    tuned_on, test = (half[:most] for half in tuning_and_test(held_out))
    reward_function = RewardFunction(make_rubric(recipe.reward), test)
    ended = {
        label: [final[label, seed] for seed in plan.seeds if not final[label, seed].stopped.exists()]
        for label in plan.recipes
    }
    if not ended[plan.reference]:
        stopped = final[plan.reference, plan.seeds[0]].stopped
        raise ValueError(f"no run of {plan.reference} came to its end: see {stopped}")

    def read(trial: Trial, which: str) -> list[PageEvaluation]:
        return score_pages(*read_predictions(trial.path / "eval" / f"{which}.json", test), reward_function)

    systems: dict[str, Runs] = {label: [read(c, "after") for c in trials] for label, trials in ended.items() if trials}
    start = [read(ended[plan.reference][0], "before")]
    against = {
        label: differences(runs, systems[plan.reference]) for label, runs in systems.items() if label != plan.reference
    }
    correct(list(against.values()))
    drifts = measured_drift([trial for trials in ended.values() for trial in trials], test)
    rows = {}
    for label, recipe in plan.recipes.items():
        trials = ended[label]
        costs = [cost(trial) for trial in trials]
        rows[label] = {
            "algorithm": recipe.algorithm,
            "rate": rates[label],
            "tuning": {f"{rate:g}": _tuned(tuning[label, rate]) for rate in plan.rates},
            "failed": {str(s): why_stopped(final[label, s]) for s in plan.seeds if final[label, s].stopped.exists()},
            "final": summary(systems[label]) if trials else None,
            "gain": differences(systems[label], start) if trials else None,
            "against": against.get(label),
            "seeds": {str(trial.recipe.train.seed): _seed(trial, plan.out) for trial in trials},
            "cost": {name: _mean([own[name] for own in costs]) for name in costs[0]} | {"models": models_held(recipe)}
            if trials
            else None,
            "drift": {name: _mean([drifts[c.path][name] for c in trials]) for name in ("entropy", "kl")}
            if trials
            else None,
            "curves": {str(trial.recipe.train.seed): curve(trial) for trial in trials},
        }
    return {
        "settings": settings(plan),
        "environment": environment(RunFolder(ended[plan.reference][0].path)),
        "pages": {"train": len(train), "tuning": len(tuned_on), "test": len(test)},
        "start": summary(start),
        "recipes": rows,
        "differing_pages": most_different_pages(systems, DIFFERING_PAGES),
    }


def settings(plan: Plan) -> dict[str, Any]:
    return {
        "recipes": list(plan.recipes),
        "seeds": list(plan.seeds),
        "rates": list(plan.rates),
        "tuning_seed": plan.tuning_seed,
        "tuning_share": plan.tuning_share,
        "budget": {plan.limit: plan.amount},
        "reference": plan.reference,
        "chosen_by": CHOSEN_BY,
        "evaluations": plan.evaluations,
    }


def planned(plan: Plan) -> str:
    """What would be run, for a dry run."""
    tuned, count = len(plan.rates) * len(plan.recipes), len(plan.seeds) * len(plan.recipes)
    lines = [
        f"tuning      {tuned} runs: {len(plan.recipes)} recipes x {len(plan.rates)} rates, "
        f"{plan.amount * plan.tuning_share:g} {plan.limit} each",
        f"training    {count} runs: {len(plan.recipes)} recipes x {len(plan.seeds)} seeds, "
        f"{plan.amount:g} {plan.limit} each",
        f"compared    with {plan.reference}",
    ]
    for label, recipe in plan.recipes.items():
        own = own_budget(plan, recipe)
        batch = f"{recipe.rollout.pages_per_step} pages a step" + (f" x {recipe.rollout.group_size}" if own else "")
        batch += "" if own else f", the compute of {plan.reference}"
        lines.append(f"{label:12}{recipe.algorithm}, {batch}; holds {', '.join(models_held(recipe))}")
    return "\n".join(lines)


def correct(tables: Sequence[Mapping[str, dict[str, Any] | None]]) -> None:
    """Add to each difference `p_holm`, its p-value corrected for the number of systems."""
    for name in tables[0] if tables else ():
        found = [own for table in tables if (own := table[name]) is not None]
        for own, p in zip(found, holm([own["p"] for own in found]), strict=True):
            own["p_holm"] = p


def _tuned(trial: Trial) -> dict[str, Any]:
    if trial.stopped.exists():
        return dict.fromkeys(("reward", "cer", "pass_rate")) | {"failed": why_stopped(trial)}
    after = evaluated(trial, "after")
    return {name: after[name] for name in ("reward", "cer", "pass_rate")} | {"failed": None}


def _seed(trial: Trial, out: Path) -> dict[str, Any]:
    after = evaluated(trial, "after")
    rates = {name: after[name] for name in ("cer", "pass_rate", "exact", "reward")}
    return rates | {"path": trial.path.relative_to(out).as_posix()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def write_json(path: Path, compared: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(compared, indent=1, ensure_ascii=False) + "\n")

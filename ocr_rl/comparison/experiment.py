"""Several recipes under one budget: tuned alike, trained with several seeds, and their results side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from ocr_rl.comparison.plan import Plan, Trial, evaluation_reward, final_trial, own_budget, tuning_trial
from ocr_rl.comparison.significance import COMPARED, Runs, differences, holm, most_different_pages, summary
from ocr_rl.comparison.trial_results import cost, curve, evaluated, measured_drift, models_held, why_stopped
from ocr_rl.comparison.trial_runs import is_done, run_trials
from ocr_rl.config.chains import System, recipes_of
from ocr_rl.config.schema import Recipe
from ocr_rl.config.validation import samples
from ocr_rl.data.splits import held_out_pages
from ocr_rl.evaluation.predictions import read_predictions
from ocr_rl.evaluation.results import PageEvaluation, score_pages
from ocr_rl.rewards.reward_function import RewardFunction, make_rubric
from ocr_rl.runs.atomic import write_atomically
from ocr_rl.runs.environment import environment
from ocr_rl.runs.folder import RunFolder
from ocr_rl.types import Page

CHOSEN_BY = "reward"
"""The rate on the tuning pages by which learning rates are chosen; every page has a reward."""
DIFFERING_PAGES = 5
"""Pages in the results on which two recipes differ most."""
SeedOrRate = TypeVar("SeedOrRate", int, float)
Trials = dict[tuple[str, SeedOrRate], Trial]
"""By label of the recipe and seed or learning rate."""


def run_experiment(plan: Plan, pages: Sequence[Page], jobs: int) -> dict[str, Any]:
    """Run the trials that are not done yet, and return the contents of compare.json, without the command."""
    tuning = run_phase(plan, "tuning", partial(tuning_trial, plan), plan.rates, jobs)
    tuned = {key: tuning_rates(plan, trial, pages) for key, trial in tuning.items()}
    chosen = {label: chosen_rate(plan, label, tuned) if plan.rates else None for label in plan.recipes}

    def final(label: str, seed: int, seconds: float | None) -> Trial:
        return final_trial(plan, label, chosen[label], seed, seconds)

    trials = run_phase(plan, "training", final, plan.seeds, jobs)
    own = {label: recipes_of(system)[-1].train.learning_rate for label, system in plan.recipes.items()}
    rates = {label: own[label] if rate is None else rate for label, rate in chosen.items()}
    return results(plan, pages, rates, tuned, trials)


def run_phase(
    plan: Plan,
    name: str,
    make: Callable[[str, SeedOrRate, float | None], Trial],
    values: Sequence[SeedOrRate],
    jobs: int,
) -> Trials[SeedOrRate]:
    """Run a trial of each recipe for each seed (or rate): all recipes with the first seed, then with the second.

    Recipes that the budget does not limit come last: they get the compute seconds of the reference's runs.
    """
    limited = [(label, x) for x in values for label, recipe in plan.recipes.items() if own_budget(plan, recipe)]
    given = [(label, x) for x in values for label in plan.recipes if (label, x) not in limited]
    with tqdm(total=len(limited) + len(given), desc=name, unit="run", disable=not values) as bar:

        def train(trials: Sequence[Trial]) -> None:
            bar.update(sum(map(is_done, trials)))
            run_trials(trials, jobs, begun, ended)

        def begun(trial: Trial) -> None:
            bar.set_postfix_str(f"{trial.label} {trial.name}")

        def ended(trial: Trial) -> None:
            bar.update()
            tqdm.write(progress_line(trial))

        trials = {(label, x): make(label, x, None) for label, x in limited}
        train(list(trials.values()))
        if given:
            seconds = reference_seconds({x: trials[plan.reference, x] for x in values})
            more = {(label, x): make(label, x, seconds[x]) for label, x in given}
            train(list(more.values()))
            trials |= more
    return trials


def reference_seconds(trials: Mapping[SeedOrRate, Trial]) -> dict[SeedOrRate, float]:
    """Compute seconds of the reference's runs; for one that was stopped, those of the lowest seed that ended."""
    seconds = {x: cost(trial)["compute_s"] for x, trial in trials.items() if not trial.stopped.exists()}
    if not seconds:
        raise ValueError(f"no run of the reference reached its end: see {next(iter(trials.values())).stopped}")
    return {x: round(seconds.get(x, seconds[min(seconds)]), 1) for x in trials}


def progress_line(trial: Trial) -> str:
    """What is said of a run that has ended."""
    name = f"{trial.label} {trial.name}"
    if trial.stopped.exists():
        return f"{name}: {why_stopped(trial)}"
    before, after = (evaluated(trial, which) for which in ("before", "after"))
    own = recipes_of(trial.recipe)
    shown = ["cer", "pass_rate", *["reward"] * (own[0].reward.weights == own[-1].reward.weights)]
    rates = [f"{rate} {before[rate]:.3f} -> {after[rate]:.3f}" for rate in shown if after[rate] is not None]
    return f"{name}: {', '.join(rates)}; {cost(trial)['compute_s']:.0f} s"


Tuned = Mapping[tuple[str, float], Mapping[str, Any]]
"""By label and learning rate, what `tuning_rates` says."""


def tuning_rates(plan: Plan, trial: Trial, pages: Sequence[Page]) -> dict[str, Any]:
    """Rates on the tuning pages, by the reward that all are evaluated by; `failed` says why there are none."""
    if trial.stopped.exists():
        return dict.fromkeys(("reward", "cer", "pass_rate")) | {"failed": why_stopped(trial)}
    after = evaluated(trial, "after")
    found = {name: after[name] for name in ("reward", "cer", "pass_rate")} | {"failed": None}
    reward = evaluation_reward(plan)
    if recipes_of(trial.recipe)[-1].reward.weights != reward.weights:
        own = {row["id"] for row in after["pages"]}
        held_out = [page for page in pages if page.id in own]
        function = RewardFunction(make_rubric(reward), held_out)
        scored = score_pages(*read_predictions(trial.stages[-1] / "eval" / "after.json", held_out), function)
        found["reward"] = _mean([page.score.reward for page in scored])
    return found


def chosen_rate(plan: Plan, label: str, tuned: Tuned) -> float:
    """The learning rate with the highest reward on the tuning pages; of equal ones the lowest."""
    rewards = {rate: tuned[label, rate][CHOSEN_BY] for rate in sorted(plan.rates) if not tuned[label, rate]["failed"]}
    if not rewards:
        raise ValueError(f"{label} reached its end at no learning rate; try lower --rates, or leave it out")
    return max(rewards, key=lambda rate: rewards[rate])


def results(
    plan: Plan, pages: Sequence[Page], rates: Mapping[str, float], tuned: Tuned, final: Trials[int]
) -> dict[str, Any]:
    """What the finished runs show on the test pages. Raises ValueError if no run of the reference reached its end."""
    recipe, reward = recipes_of(plan.recipes[plan.reference])[0], evaluation_reward(plan)
    (train, tuned_on), (_, test) = (
        held_out_pages(pages, replace(recipe.data, evaluate=half), recipe.train.eval_pages)
        for half in ("tuning", "test")
    )
    reward_function = RewardFunction(make_rubric(reward), test)

    def read(trial: Trial, which: str) -> list[PageEvaluation]:
        run = trial.stages[0 if which == "before" else -1]
        return score_pages(*read_predictions(run / "eval" / f"{which}.json", test), reward_function)

    ended = ended_trials(plan, final)
    systems: dict[str, Runs] = {label: [read(t, "after") for t in trials] for label, trials in ended.items() if trials}
    start = [read(ended[plan.reference][0], "before")]
    reference = systems[plan.reference]
    against = {label: differences(runs, reference) for label, runs in systems.items() if label != plan.reference}
    correct(list(against.values()))
    drifts = measured_drift([trial for trials in ended.values() for trial in trials], test)
    rows = {}
    for label, system in plan.recipes.items():
        same = all(own.reward.weights == reward.weights for own in recipes_of(system))
        rows[label] = {
            "algorithm": ", then ".join(own.algorithm for own in recipes_of(system)),
            "rate": rates[label],
            "tuning": {f"{rate:g}": dict(tuned[label, rate]) for rate in plan.rates},
            "failed": {str(s): why_stopped(final[label, s]) for s in plan.seeds if final[label, s].stopped.exists()},
            **_scores(systems.get(label), start, against.get(label)),
            "seeds": {str(trial.seed): _seed(trial, plan.out) for trial in ended[label]},
            **_costs(system, ended[label], drifts),
            "own_budget": own_budget(plan, system),
            "curves": {str(trial.seed): curve(trial, same) for trial in ended[label]},
        }
    return {
        "settings": settings(plan),
        "environment": environment(RunFolder(ended[plan.reference][0].stages[-1])),
        "pages": {"train": len(train), "tuning": len(tuned_on), "test": len(test)},
        "start": summary(start),
        "recipes": rows,
        "differing_pages": most_different_pages(systems, DIFFERING_PAGES),
    }


def ended_trials(plan: Plan, final: Trials[int]) -> dict[str, list[Trial]]:
    """By label, the runs that reached their end. Raises ValueError if the reference has none."""
    ended = {
        label: [final[label, seed] for seed in plan.seeds if not final[label, seed].stopped.exists()]
        for label in plan.recipes
    }
    if not ended[plan.reference]:
        stopped = final[plan.reference, plan.seeds[0]].stopped
        raise ValueError(f"no run of {plan.reference} reached its end: see {stopped}")
    return ended


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
    """What would be run, in words, for a dry run."""
    tuned, count = len(plan.rates) * len(plan.recipes), len(plan.seeds) * len(plan.recipes)
    lines = [
        f"tuning      {tuned} runs: {len(plan.recipes)} recipes x {len(plan.rates)} rates, "
        f"{plan.amount * plan.tuning_share:g} {plan.limit} each",
        f"training    {count} runs: {len(plan.recipes)} recipes x {len(plan.seeds)} seeds, "
        f"{plan.amount:g} {plan.limit} each",
        f"compared    with {plan.reference}",
    ]
    for label, system in plan.recipes.items():
        steps = ", then ".join(_batch(recipe) for recipe in recipes_of(system))
        steps += "" if own_budget(plan, system) else f", the compute of {plan.reference}"
        lines.append(f"{label:12}{steps}; holds {', '.join(models_held(system))}")
    return "\n".join(lines)


def _batch(recipe: Recipe) -> str:
    """`grpo, 16 pages a step x 16`."""
    group = f" x {recipe.rollout.group_size}" if samples(recipe) else ""
    return f"{recipe.algorithm}, {recipe.rollout.pages_per_step} pages a step{group}"


def correct(tables: Sequence[Mapping[str, dict[str, Any] | None]]) -> None:
    """Add to each difference `p_holm`, its p-value corrected for the number of systems."""
    for name in tables[0] if tables else ():
        found = [own for table in tables if (own := table[name]) is not None]
        for own, p in zip(found, holm([own["p"] for own in found]), strict=True):
            own["p_holm"] = p


def _scores(runs: Runs | None, start: Runs, against: Mapping[str, Any] | None) -> dict[str, Any]:
    """On the test pages: the rates, and their differences to the start and to the reference."""
    return {
        "final": summary(runs) if runs else None,
        "gain": differences(runs, start) if runs else None,
        "against": against,
    }


def _costs(system: System, trials: Sequence[Trial], drifts: Mapping[Path, Mapping[str, float]]) -> dict[str, Any]:
    """Means over the runs."""
    if not trials:
        return {"cost": None, "drift": None}
    costs = [cost(trial) for trial in trials]
    mean_cost = {name: _mean([own[name] for own in costs]) for name in costs[0]}
    return {
        "cost": mean_cost | {"models": models_held(system)},
        "drift": {name: _mean([drifts[trial.path][name] for trial in trials]) for name in ("entropy", "kl")},
    }


def _seed(trial: Trial, out: Path) -> dict[str, Any]:
    after = evaluated(trial, "after")
    rates = {name: after[name] for name in COMPARED}
    return rates | {"path": trial.path.relative_to(out).as_posix()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def write_json(path: Path, compared: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(compared, indent=1, ensure_ascii=False) + "\n")

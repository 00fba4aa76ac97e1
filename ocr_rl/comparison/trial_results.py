"""What the run folder of a trial says: its evaluations, its cost, its curves, and how far the policy has moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ocr_rl.comparison.plan import Trial
from ocr_rl.comparison.significance import COMPARED
from ocr_rl.config.chains import System, recipes_of
from ocr_rl.config.schema import Recipe
from ocr_rl.runs.folder import RunFolder
from ocr_rl.types import Page

if TYPE_CHECKING:
    from ocr_rl.models.policy import Policy

DRIFT_PAGES = 100
"""Maximum number of test pages on which entropy and KL are measured."""
_LOGGED = ("reward", "pass_rate", "cer", "entropy", "kl", "loss", "completion_length", "truncated_fraction")
"""What a curve keeps of a step, beside parts of the reward, kinds of tests and evaluations."""

_BESIDES_POLICY: dict[str, Callable[[Recipe], list[str]]] = {
    "grpo": lambda recipe: ["reference"] * (recipe.grpo.beta > 0),
    "ppo": lambda recipe: [
        *["reference"] * (recipe.ppo.beta > 0),
        "critic" if recipe.ppo.critic == "separate" else "value head",
    ],
    "sft": lambda _: [],
    "ocd": lambda _: [],
    "dpo": lambda recipe: ["reference"] * (recipe.dpo.reference == "live"),
    "orpo": lambda _: [],
    "kto": lambda _: ["reference"],
}
"""By algorithm, the models that it holds besides the policy."""


def why_stopped(trial: Trial) -> str:
    """The message with which its training stopped."""
    return trial.stopped.read_text(encoding="utf-8").strip()


def evaluated(trial: Trial, which: str) -> dict[str, Any]:
    """The evaluation `before` or `after` training; of a chain, before the first stage or after the last."""
    found = RunFolder(trial.stages[0 if which == "before" else -1]).read_eval(which)
    assert found is not None, f"{trial.path} has no evaluation {which}"
    return found


def metrics(trial: Trial) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl of all stages."""
    return [dict(step.metrics) for run in trial.stages for step in RunFolder(run).logged()]


def cost(trial: Trial) -> dict[str, float]:
    """What a run has used: `compute_s` is counted as for budget.seconds, `tokens` are the sampled ones."""
    rows = metrics(trial)

    def total(name: str) -> float:
        return sum(row.get(name) or 0 for row in rows)

    return {
        "steps": len(rows),
        "pages": total("pages"),
        "completions": total("completions"),
        "tokens": total("sampled_tokens"),
        "compute_s": round(total("time/compute"), 1),
        "peak_memory_mib": max((row["peak_memory_mib"] for row in rows), default=0),
    }


def models_held(system: System) -> list[str]:
    """The models whose weights are in memory during training; a reference is a copy of the trained weights."""
    held = {"policy": True}
    for recipe in recipes_of(system):
        held |= dict.fromkeys(_BESIDES_POLICY[recipe.algorithm](recipe), True)
        held |= dict.fromkeys(["reward model"] * bool(recipe.reward.model), True)
    return list(held)


def curve(trial: Trial, same_reward: bool = True) -> list[dict[str, Any]]:
    """A row for the start and one for each step, with what was used so far; evaluations are `eval/<name>`.

    A chain's steps are counted over its stages. With another reward than the comparison's, `eval/reward` is left out.
    Evaluations by which a step was chosen are left out too: they are of other pages.
    """
    choosing = any(recipe.train.chooses for recipe in recipes_of(trial.recipe))
    rows = [{"step": 0, "completions": 0, "compute_s": 0.0, **_evaluation(evaluated(trial, "before"))}]
    completions, seconds = 0, 0.0
    for step, row in enumerate(metrics(trial), 1):
        completions += row.get("completions") or 0
        seconds += row.get("time/compute") or 0.0
        kept = {k: v for k, v in row.items() if k in _LOGGED or k.startswith(("reward/", "pass_rate/"))}
        if not choosing:
            kept |= _evaluation({k.removeprefix("eval/"): v for k, v in row.items() if k.startswith("eval/")})
        rows.append({"step": step, "completions": completions, "compute_s": round(seconds, 1), **kept})
    rows[-1] |= _evaluation(evaluated(trial, "after"))
    return rows if same_reward else [{k: v for k, v in row.items() if k != "eval/reward"} for row in rows]


def _evaluation(found: Mapping[str, Any]) -> dict[str, Any]:
    kept = {f"eval/{name}": found[name] for name in COMPARED if name in found}
    kept |= {f"eval/{name}": value for name, value in found.items() if name.startswith("pass_rate/")}
    return kept | {f"eval/pass_rate/{kind}": own["pass_rate"] for kind, own in found.get("by_kind", {}).items()}


def measured_drift(trials: Sequence[Trial], pages: Sequence[Page]) -> dict[Path, dict[str, float]]:
    """By folder of a run, entropy of its last checkpoint, or of its best, and KL to the start; kept in eval/drift.json.

    Raises:
        ValueError: the checkpoint of a run is missing.
    """
    found: dict[Path, dict[str, float]] = {}
    start = None
    for trial in tqdm(trials, desc="entropy and KL", unit="run", leave=False):
        run = RunFolder(trial.stages[-1])
        own = run.read_eval("drift")
        if own is None:
            from ocr_rl.models.policy import Policy

            start = start or Policy.load(recipes_of(trial.recipe)[0].model)
            own = _drift(trial, start, pages[:DRIFT_PAGES])
            run.write_eval("drift", own)
        found[trial.path] = own
    return found


def _drift(trial: Trial, start: Policy, pages: Sequence[Page]) -> dict[str, float]:
    from ocr_rl.evaluation.drift import drift
    from ocr_rl.models.policy import Policy

    recipe = recipes_of(trial.recipe)[-1]
    last = RunFolder(trial.stages[-1])
    best = last.best()
    checkpoints = [file for run in trial.stages for file in RunFolder(run).checkpoints()]
    if not checkpoints:
        raise ValueError(f"{trial.path} has no checkpoint; delete {trial.recipe_file} and {trial.path} to run it again")
    measured = last.checkpoint(best["step"]) if best is not None else checkpoints[-1]
    policy = Policy.load(replace(recipe.model, path=str(measured), lora_rank=0))
    return drift(policy, start, pages, recipe.rollout.max_tokens)

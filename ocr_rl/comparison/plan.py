"""The cells of a comparison: which runs there are, by which recipes, and where they lie.

OUT/pages/                         the rendered collection, where the recipes name no dataset
OUT/tuning/RECIPE/rate_0.0001/      a run for each learning rate, evaluated on the tuning pages
OUT/runs/RECIPE/seed_0/            a run for each seed at the rate that was best there, evaluated on the test pages
OUT/.../*.toml, *.log              beside each run: the recipe that it was told, and what it printed
OUT/compare.json, compare.html     what came of it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from ocr_rl.config.loader import load_recipe
from ocr_rl.config.schema import BudgetConfig, DataConfig, Recipe
from ocr_rl.config.validation import check, samples

Half = Literal["tuning", "test"]
LIMITS = ("pages", "completions", "minutes")
"""What a budget may limit."""


@dataclass(frozen=True)
class Plan:
    """What `ocr-rl compare` was told."""

    out: Path
    recipes: dict[str, Recipe]
    """By label."""
    seeds: Sequence[int]
    rates: Sequence[float]
    """Learning rates that are tried for each recipe; none: each keeps its own."""
    tuning_seed: int
    tuning_share: float
    """Of the budget, for a tuning run."""
    limit: str
    """One of LIMITS."""
    amount: float
    reference: str
    """The label of the recipe that all are compared with."""
    evaluations: int
    """On the way through a run, evenly spaced."""


@dataclass(frozen=True)
class Trial:
    """One run."""

    label: str
    """Of its recipe."""
    name: str
    """seed_0, or rate_0.0001 of a tuning run."""
    recipe: Recipe
    path: Path

    @property
    def recipe_file(self) -> Path:
        """The recipe as a file."""
        return self.path.with_name(f"{self.name}.toml")

    @property
    def log(self) -> Path:
        return self.path.with_name(f"{self.name}.log")

    @property
    def stopped(self) -> Path:
        """Why training could not go on, where it could not. Deleted, the run is tried again."""
        return self.path.with_name(f"{self.name}.stopped")


def load_recipes(names: Sequence[str], overrides: Sequence[str]) -> dict[str, Recipe]:
    """By label, the name of a shipped recipe or of a file without `.toml`.

    Raises:
        ValueError: two of them have one label, or differ in what a comparison keeps equal.
    """
    recipes: dict[str, Recipe] = {}
    for name in names:
        label = Path(name).stem
        if label in recipes:
            raise ValueError(f"two recipes are called {label}; give each of their files a name of its own")
        recipes[label] = load_recipe(name, list(overrides))
    first = next(iter(recipes))
    wanted = _shared(recipes[first])
    for label, recipe in recipes.items():
        for key, value in _shared(recipe).items():
            if value != wanted[key]:
                raise ValueError(
                    f"{key} is {value!r} in {label} and {wanted[key]!r} in {first}; a comparison needs one policy, one "
                    "collection and one reward: change a recipe, or set it for all with --set"
                )
        if recipe.algorithm == "reward-model":
            raise ValueError(f"{label} trains a judge and no policy; leave it out, or name its model in reward.model")
    return recipes


def chosen_reference(recipes: Mapping[str, Recipe], wanted: str | None, limit: str) -> str:
    """The label of the recipe that all are compared with.

    Raises:
        ValueError: there is none of this name, or it samples nothing while others are to get its compute.
    """
    label = wanted or ("grpo" if "grpo" in recipes else next(iter(recipes)))
    if label not in recipes:
        raise ValueError(f"--against {label}: it is none of the recipes; write one of {', '.join(recipes)}")
    if limit != "minutes" and not samples(recipes[label]):
        able = [other for other, recipe in recipes.items() if samples(recipe)]
        want = f"--against {able[0]}" if able else "--budget minutes=N"
        raise ValueError(f"{label} samples no completions, so a budget of {limit} does not limit it; write {want}")
    return label


def _shared(recipe: Recipe) -> dict[str, object]:
    """What all recipes of a comparison have in common: where they begin, what they see, what it is worth."""
    shared: dict[str, object] = {
        f"{section}.{key}": value
        for section in ("model", "data", "render", "reward")
        for key, value in asdict(getattr(recipe, section)).items()
    }
    for key in ("reward.model", "reward.model_weight", "reward.permute", "reward.processes"):
        del shared[key]  # what a recipe learns from may differ, what it is evaluated by may not
    evaluation = {"rollout.max_tokens": recipe.rollout.max_tokens, "train.eval_pages": recipe.train.eval_pages}
    return shared | evaluation


def own_budget(plan: Plan, recipe: Recipe) -> bool:
    """Whether the budget says what a recipe may spend; else it gets the compute of the reference."""
    return plan.limit == "minutes" or samples(recipe)


def refuse_other_pages(plan: Plan) -> None:
    """Raises ValueError if OUT/pages was rendered for runs with another [render]."""
    render = plan.recipes[plan.reference].render
    for file in sorted(plan.out.glob("*/*/*.toml")):
        if load_recipe(str(file)).render != render:
            raise ValueError(
                f"{file} has another [render] than these recipes, and its pages are there; give another --out"
            )


def tuning_trial(plan: Plan, label: str, rate: float, seconds: float | None = None) -> Trial:
    """`seconds` of compute, for a recipe without a budget of its own."""
    name = f"rate_{rate:g}"
    recipe = _cell_recipe(plan, plan.recipes[label], plan.tuning_share, seconds, "tuning")
    train = replace(recipe.train, learning_rate=rate, seed=plan.tuning_seed)
    return _trial(plan.out / "tuning" / label / name, label, replace(recipe, train=train))


def final_trial(plan: Plan, label: str, rate: float, seed: int, seconds: float | None = None) -> Trial:
    name = f"seed_{seed}"
    recipe = _cell_recipe(plan, plan.recipes[label], 1.0, seconds, "test")
    recipe = replace(recipe, budget=replace(recipe.budget, evaluations=plan.evaluations))
    train = replace(recipe.train, learning_rate=rate, seed=seed)
    return _trial(plan.out / "runs" / label / name, label, replace(recipe, train=train))


def _trial(path: Path, label: str, recipe: Recipe) -> Trial:
    return Trial(label, path.name, check(recipe), path)


def _cell_recipe(plan: Plan, recipe: Recipe, share: float, seconds: float | None, evaluate: Half) -> Recipe:
    """With the budget in place of steps, on its half of the held-out pages."""
    amount = plan.amount * share
    if not own_budget(plan, recipe):
        assert seconds is not None
        budget = BudgetConfig(seconds=seconds)
    elif plan.limit == "minutes":
        budget = BudgetConfig(seconds=60 * amount)
    else:
        budget = BudgetConfig(**{plan.limit: max(1, round(amount))})
    data = recipe.data if recipe.data.path else DataConfig(str(plan.out / "pages"), prompt=recipe.data.prompt)
    return replace(
        recipe,
        data=replace(data, validation=recipe.data.validation, evaluate=evaluate),
        train=replace(recipe.train, steps=0, keep_checkpoints=1),
        budget=budget,
    )

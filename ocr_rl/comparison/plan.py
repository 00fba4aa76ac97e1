"""The trials of a comparison: which runs there are, by which recipes, and where they lie.

OUT/pages/                         the rendered collection, if the recipes name no dataset
OUT/tuning/RECIPE/rate_0.0001/     a run for each learning rate, evaluated on the tuning pages
OUT/runs/RECIPE/seed_0/            a run for each seed at the rate that was best there, evaluated on the test pages
OUT/.../*.toml, *.log              beside each run: its recipe, and what it printed
OUT/compare.json, compare.html     the results
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from ocr_rl.config.loader import check_model_path, load_recipe
from ocr_rl.config.schema import BudgetConfig, DataConfig, Recipe
from ocr_rl.config.validation import check, samples, trains_policy

Half = Literal["tuning", "test"]
LIMITS = ("pages", "completions", "minutes")
"""What a budget may limit."""


@dataclass(frozen=True)
class Plan:
    """What `ocr-rl compare` compares, and how."""

    out: Path
    """The folder of all runs and of the results."""
    recipes: Mapping[str, Recipe]
    """By label, see `load_recipes`."""
    reference: str
    """The label of the recipe that all are compared with, see `chosen_reference`."""
    seeds: Sequence[int] = (0, 1, 2)
    """Each recipe has a run for each."""
    rates: Sequence[float] = (3e-5, 1e-4, 3e-4)
    """Learning rates that are tried for each recipe; (): each keeps its own."""
    tuning_seed: int = 1000
    """Of the runs that choose the rate."""
    tuning_share: float = 0.5
    """Of the budget, for each of them."""
    limit: str = "completions"
    """What the budget of a run limits, one of LIMITS."""
    amount: float = 15360.0
    """How much of it a run may use."""
    evaluations: int = 3
    """Of each run between its start and its end, evenly spaced."""


@dataclass(frozen=True)
class Trial:
    """One run."""

    label: str
    """Of its recipe."""
    name: str
    """seed_0, or rate_0.0001 for a tuning run."""
    recipe: Recipe
    path: Path

    @property
    def recipe_file(self) -> Path:
        """What is run: the recipe as a file."""
        return self.path.with_name(f"{self.name}.toml")

    @property
    def log(self) -> Path:
        return self.path.with_name(f"{self.name}.log")

    @property
    def stopped(self) -> Path:
        """Why training could not continue, if it could not. Delete it to try the run again."""
        return self.path.with_name(f"{self.name}.stopped")


def load_recipes(names: Sequence[str], overrides: Sequence[str]) -> dict[str, Recipe]:
    """By label: the name of a shipped recipe, or of a file without `.toml`.

    Raises:
        ValueError: two recipes have the same label, or differ in what a comparison keeps equal.
    """
    recipes: dict[str, Recipe] = {}
    for name in names:
        label = Path(name).stem
        if label in recipes:
            raise ValueError(f"two recipes are called {label}; give their files different names")
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
        if not trains_policy(recipe):
            raise ValueError(f"{label} trains no policy; leave it out, or name its model in reward.model")
    return recipes


def chosen_reference(recipes: Mapping[str, Recipe], wanted: str | None, limit: str) -> str:
    """The label of the recipe that all are compared with.

    Raises:
        ValueError: no recipe has this label, or it samples nothing, while others are to get its compute.
    """
    label = wanted or ("grpo" if "grpo" in recipes else next(iter(recipes)))
    if label not in recipes:
        raise ValueError(f"--against {label}: not one of the recipes; write one of {', '.join(recipes)}")
    if limit != "minutes" and not samples(recipes[label]):
        able = [other for other, recipe in recipes.items() if samples(recipe)]
        want = f"--against {able[0]}" if able else "--budget minutes=N"
        raise ValueError(f"{label} samples no completions, so a budget of {limit} does not limit it; write {want}")
    return label


def _shared(recipe: Recipe) -> dict[str, object]:
    """What all recipes of a comparison have in common: the policy, the pages, the reward, the evaluation."""
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
    """Whether the budget limits the recipe itself; if not, it gets the compute of the reference."""
    return plan.limit == "minutes" or samples(recipe)


def check_plan(plan: Plan) -> None:
    """Raises ValueError for a mistake in any recipe, before anything is run or written."""
    check_model_path(plan.recipes[plan.reference].model.path)
    for label, recipe in plan.recipes.items():
        final_trial(plan, label, recipe.train.learning_rate, plan.seeds[0], 1.0)
    refuse_other_pages(plan)


def refuse_other_pages(plan: Plan) -> None:
    """Raises ValueError if OUT/pages was rendered for runs with another [render]."""
    render = plan.recipes[plan.reference].render
    for file in sorted(plan.out.glob("*/*/*.toml")):
        if load_recipe(str(file)).render != render:
            raise ValueError(
                f"{file} has another [render] than these recipes, and its pages are in {plan.out}; give another --out"
            )


def tuning_trial(plan: Plan, label: str, rate: float, seconds: float | None = None) -> Trial:
    """A run that helps to choose the learning rate; `seconds` of compute are for a recipe that samples nothing."""
    name = f"rate_{rate:g}"
    recipe = _trial_recipe(plan, plan.recipes[label], plan.tuning_share, seconds, "tuning")
    train = replace(recipe.train, learning_rate=rate, seed=plan.tuning_seed)
    return _trial(plan.out / "tuning" / label / name, label, replace(recipe, train=train))


def final_trial(plan: Plan, label: str, rate: float, seed: int, seconds: float | None = None) -> Trial:
    """A run that is compared, at the learning rate that was chosen."""
    name = f"seed_{seed}"
    recipe = _trial_recipe(plan, plan.recipes[label], 1.0, seconds, "test")
    recipe = replace(recipe, budget=replace(recipe.budget, evaluations=plan.evaluations))
    train = replace(recipe.train, learning_rate=rate, seed=seed)
    return _trial(plan.out / "runs" / label / name, label, replace(recipe, train=train))


def _trial(path: Path, label: str, recipe: Recipe) -> Trial:
    return Trial(label, path.name, check(recipe), path)


def _trial_recipe(plan: Plan, recipe: Recipe, share: float, seconds: float | None, evaluate: Half) -> Recipe:
    """The recipe with the budget in place of its steps, evaluated on one half of the held-out pages."""
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

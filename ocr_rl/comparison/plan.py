"""The trials of a comparison: which runs there are, by which recipes, and where they lie.

OUT/pages/                         the rendered collection, if the recipes name no dataset
OUT/tuning/RECIPE/rate_0.0001/     a run for each learning rate, evaluated on the tuning pages
OUT/runs/RECIPE/seed_0/            a run for each seed at the rate that was best there, evaluated on the test pages;
                                   of a chain, a folder with a run for each stage
OUT/.../*.toml, *.log              beside each run: its recipe, and what it printed
OUT/compare.json, compare.html     the results
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from ocr_rl.config.chains import Chain, System, limited, load_system, recipes_of
from ocr_rl.config.loader import check_model_path
from ocr_rl.config.schema import BudgetConfig, Recipe, RewardConfig
from ocr_rl.config.validation import check, samples, trains_policy
from ocr_rl.rewards.reward_function import check_scorable, make_rubric
from ocr_rl.types import Page
from ocr_verifiers.rewards.rubric import CONSENSUS

Half = Literal["tuning", "test"]
LIMITS = ("pages", "completions", "minutes")
"""What a budget may limit."""
ALIKE = "a comparison needs one policy, one collection and one reward: change a recipe, or set it for all with --set"
HELD_OUT = (
    "where pages without a text are trained on, only those with one are held out: write data.train in all recipes, or "
    "in none of them"
)


@dataclass(frozen=True)
class Plan:
    """What `ocr-rl compare` compares, and how."""

    out: Path
    """The folder of all runs and of the results."""
    recipes: Mapping[str, System]
    """Recipes and chains by label, see `load_recipes`."""
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
    """One run, or one for each stage of a chain."""

    label: str
    """Of its recipe."""
    name: str
    """seed_0, or rate_0.0001 for a tuning run."""
    recipe: System
    path: Path

    @property
    def stages(self) -> list[Path]:
        """The run folders, in order."""
        if isinstance(self.recipe, Chain):
            return [self.path / stage.name for stage in self.recipe.stages]
        return [self.path]

    @property
    def seed(self) -> int:
        return recipes_of(self.recipe)[-1].train.seed

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


def load_recipes(names: Sequence[str], overrides: Sequence[str]) -> dict[str, System]:
    """By label: the name of a shipped recipe or chain, or of a file without `.toml`.

    Raises:
        ValueError: two recipes have the same label, or differ in what a comparison keeps equal.
    """
    systems: dict[str, System] = {}
    for name in names:
        label = Path(name).stem
        if label in systems:
            raise ValueError(f"two recipes are called {label}; give their files different names")
        systems[label] = load_system(name, overrides)
    wanted: dict[str, tuple[str, object]] = {}
    for label, system in systems.items():
        for number, recipe in enumerate(recipes_of(system)):
            for key, value in _shared(recipe, first=not number).items():
                other, other_value = wanted.setdefault(key, (label, value))
                if value != other_value:
                    needs = HELD_OUT if key == "data.train" else ALIKE
                    raise ValueError(f"{key} is {value!r} in {label} and {other_value!r} in {other}; {needs}")
            if not trains_policy(recipe):
                raise ValueError(f"{label} trains no policy; leave it out, or name its model in reward.model")
    return systems


def with_amounts(systems: Mapping[str, System], amounts: Sequence[int]) -> dict[str, System]:
    """Each recipe with each number of pages to train on, by label: `few@16`, `few@64`; as they are without amounts.

    Raises ValueError for an amount that is none, and for recipes that have one.
    """
    if not amounts:
        return dict(systems)
    if wrong := [amount for amount in amounts if amount < 1]:
        raise ValueError(f"--amounts has {wrong[0]}; write numbers of pages, such as 16,64,256")
    for label, system in systems.items():
        if own := next((recipe.data.amount for recipe in recipes_of(system) if recipe.data.amount), 0):
            raise ValueError(f"data.amount is {own} in {label}, and --amounts takes its place; leave one of them out")

    def with_amount(recipe: Recipe, amount: int) -> Recipe:
        return replace(recipe, data=replace(recipe.data, amount=amount))

    found: dict[str, System] = {}
    for label, system in systems.items():
        for amount in sorted(amounts):
            if isinstance(system, Chain):
                stages = (stage._replace(recipe=with_amount(stage.recipe, amount)) for stage in system.stages)
                found[f"{label}@{amount}"] = Chain(tuple(stages), system.budget)
            else:
                found[f"{label}@{amount}"] = with_amount(system, amount)
    return found


def chosen_reference(recipes: Mapping[str, System], wanted: str | None, limit: str) -> str:
    """The label of the recipe that all are compared with.

    Raises:
        ValueError: no recipe has this label, or it samples nothing, while others are to get its compute.
    """
    label = wanted or ("grpo" if "grpo" in recipes else next(iter(recipes)))
    if label not in recipes:
        raise ValueError(f"--against {label}: not one of the recipes; write one of {', '.join(recipes)}")
    if limit != "minutes" and not always_samples(recipes[label]):
        able = [other for other, system in recipes.items() if always_samples(system)]
        want = f"--against {able[0]}" if able else "--budget minutes=N"
        where = " in some stage" if isinstance(recipes[label], Chain) else ""
        raise ValueError(
            f"{label} samples no completions{where}, so a budget of {limit} does not limit it; write {want}"
        )
    return label


def _shared(recipe: Recipe, first: bool) -> dict[str, object]:
    """What all recipes of a comparison have in common: the policy, the pages, the reward, the evaluation.

    What a recipe learns from may differ, what it is evaluated by may not. A reward with `consensus` is only learned
    from: a single transcription has none.
    """
    shared: dict[str, object] = {
        f"{section}.{key}": value
        for section in ("model", "data", "render", "reward")
        for key, value in asdict(getattr(recipe, section)).items()
    }
    for key in ("reward.model", "reward.model_weight", "reward.permute", "reward.processes", "reward.agreement"):
        del shared[key]
    del shared["data.amount"]
    if recipe.reward.weights.get(CONSENSUS):
        del shared["reward.weights"]
    if not first:  # a later stage starts from what the one before has trained
        del shared["model.path"]
    shared["data.train"] = "all" if recipe.data.train == "all" else "labelled or unlabelled"  # which are held out
    evaluation = {"rollout.max_tokens": recipe.rollout.max_tokens, "train.eval_pages": recipe.train.eval_pages}
    return shared | evaluation


def always_samples(system: System) -> bool:
    """Whether all that it learns from are completions that it samples, in each stage of a chain."""
    return all(map(samples, recipes_of(system)))


def own_budget(plan: Plan, system: System) -> bool:
    """Whether the budget limits the recipe itself; if not, it gets the compute of the reference."""
    return plan.limit == "minutes" or always_samples(system)


def evaluation_reward(plan: Plan) -> RewardConfig:
    """What all recipes are evaluated by: the reward of the reference, or of the first whose reward knows one text.

    Agreement with siblings says nothing of a single transcription; if all rewards are that, it is the default one.
    """
    systems = [plan.recipes[plan.reference], *plan.recipes.values()]
    rewards = [recipe.reward for system in systems for recipe in recipes_of(system)]
    return next((reward for reward in rewards if knows_one_text(reward)), RewardConfig())


def knows_one_text(reward: RewardConfig) -> bool:
    """Whether it has a part besides the consensus of several."""
    return any(weight for part, weight in reward.weights.items() if part != CONSENSUS)


def check_plan(plan: Plan) -> None:
    """Raises ValueError for a mistake in any recipe, before anything is run or written."""
    check_model_path(recipes_of(plan.recipes[plan.reference])[0].model.path)
    for label in plan.recipes:
        final_trial(plan, label, None, plan.seeds[0], 1.0)
    refuse_other_pages(plan)


def check_comparable(plan: Plan, held_out: Sequence[Page]) -> None:
    """Raises ValueError for a held-out page of which a single transcription has no reward."""
    reward = evaluation_reward(plan)
    weights = {part: weight for part, weight in reward.weights.items() if part != CONSENSUS}
    try:
        check_scorable(make_rubric(replace(reward, weights=weights)), held_out)
    except ValueError as error:
        raise ValueError(f"recipes are compared on held-out pages with a text or tests; {error}") from None


def refuse_other_pages(plan: Plan) -> None:
    """Raises ValueError if OUT/pages was rendered for runs with another [render]."""
    render = recipes_of(plan.recipes[plan.reference])[0].render
    for file in sorted(plan.out.glob("*/*/*.toml")):
        if recipes_of(load_system(str(file)))[0].render != render:
            raise ValueError(
                f"{file} has another [render] than these recipes, and its pages are in {plan.out}; give another --out"
            )


def tuning_trial(plan: Plan, label: str, rate: float, seconds: float | None = None) -> Trial:
    """A run that helps to choose the learning rate; `seconds` of compute are for a recipe that samples nothing."""
    budget = _budget(plan, plan.recipes[label], plan.tuning_share, seconds, evaluations=0)
    system = _trial_system(plan, label, budget, "tuning", plan.tuning_seed, rate)
    return _trial(plan.out / "tuning" / label / f"rate_{rate:g}", label, system)


def final_trial(plan: Plan, label: str, rate: float | None, seed: int, seconds: float | None = None) -> Trial:
    """A run that is compared, at the learning rate that was chosen; with None, each stage keeps its own."""
    budget = _budget(plan, plan.recipes[label], 1.0, seconds, plan.evaluations)
    system = _trial_system(plan, label, budget, "test", seed, rate)
    return _trial(plan.out / "runs" / label / f"seed_{seed}", label, system)


def _trial(path: Path, label: str, system: System) -> Trial:
    budget = system.budget
    for recipe in recipes_of(system):
        check(limited(recipe, budget, BudgetConfig()) if isinstance(system, Chain) else recipe)
    return Trial(label, path.name, system, path)


def _budget(plan: Plan, system: System, share: float, seconds: float | None, evaluations: int) -> BudgetConfig:
    amount = plan.amount * share
    if not own_budget(plan, system):
        assert seconds is not None
        return BudgetConfig(seconds=seconds, evaluations=evaluations)
    if plan.limit == "minutes":
        return BudgetConfig(seconds=60 * amount, evaluations=evaluations)
    return BudgetConfig(**{plan.limit: max(1, round(amount))}, evaluations=evaluations)


def _trial_system(
    plan: Plan, label: str, budget: BudgetConfig, evaluate: Half, seed: int, rate: float | None
) -> System:
    """The recipe with the budget in place of its steps, evaluated on one half of the held-out pages.

    Of a chain, the budget is for all stages together and in place of the last one's steps; the others end by their own.
    """

    def one(recipe: Recipe) -> Recipe:
        train = replace(recipe.train, keep_checkpoints=1, seed=seed)
        return replace(
            recipe,
            data=replace(recipe.data, path=recipe.data.path or str(plan.out / "pages"), evaluate=evaluate),
            train=train if rate is None else replace(train, learning_rate=rate),
        )

    def by_budget(recipe: Recipe, own: BudgetConfig) -> Recipe:
        return replace(recipe, train=replace(recipe.train, steps=0), budget=own)

    system = plan.recipes[label]
    if not isinstance(system, Chain):
        return by_budget(one(system), budget)
    *stages, last = (stage._replace(recipe=one(stage.recipe)) for stage in system.stages)
    last = last._replace(recipe=by_budget(last.recipe, BudgetConfig()))
    return Chain((*stages, last), budget)

"""The runs of a comparison: equal in all but what is compared."""

import json
import shutil
from dataclasses import asdict, replace

import pytest

from helpers.tiny_models import make_page
from ocr_rl.comparison.experiment import chosen_rate, reference_seconds, tuning_rates
from ocr_rl.comparison.plan import (
    Plan,
    check_comparable,
    chosen_reference,
    evaluation_reward,
    final_trial,
    load_recipes,
    own_budget,
    refuse_other_pages,
    tuning_trial,
)
from ocr_rl.comparison.trial_results import models_held, why_stopped
from ocr_rl.comparison.trial_runs import error_in, is_done, run_trials
from ocr_rl.config.chains import recipes_of, system_to_toml
from ocr_rl.config.loader import load_recipe, to_toml
from ocr_rl.config.schema import BudgetConfig
from ocr_rl.runs.folder import RunFolder


def plan(tmp_path, names=("grpo", "sft", "dpo"), **changes):
    values = {
        "out": tmp_path,
        "recipes": load_recipes(names, ()),
        "seeds": (0, 1),
        "rates": (1e-4, 3e-4),
        "tuning_seed": 1000,
        "tuning_share": 0.25,
        "limit": "completions",
        "amount": 1000.0,
        "reference": "grpo",
        "evaluations": 3,
    }
    return Plan(**{**values, **changes})


def test_recipes_differ_from_their_trials_only_in_budget_rate_seed_and_pages(tmp_path):
    whole = plan(tmp_path)
    trial = final_trial(whole, "dpo", 3e-4, 1)
    assert trial.path == tmp_path / "runs" / "dpo" / "seed_1"
    assert trial.recipe.budget == BudgetConfig(completions=1000, evaluations=3)
    own, shipped = asdict(trial.recipe), asdict(whole.recipes["dpo"])
    changed = {
        f"{section}.{key}"
        for section, values in own.items()
        if isinstance(values, dict)
        for key, value in values.items()
        if value != shipped[section][key]
    }
    assert changed == {
        "data.path",
        "data.evaluate",
        "train.steps",
        "train.seed",
        "train.learning_rate",
        "train.keep_checkpoints",
        "budget.completions",
        "budget.evaluations",
    }


def test_rates_are_chosen_on_other_pages_with_another_seed_and_less_to_spend(tmp_path):
    trial = tuning_trial(plan(tmp_path), "grpo", 3e-4)
    assert trial.path == tmp_path / "tuning" / "grpo" / "rate_0.0003"
    assert (trial.recipe.train.seed, trial.recipe.train.learning_rate) == (1000, 3e-4)
    assert (trial.recipe.budget.completions, trial.recipe.data.evaluate) == (250, "tuning")
    assert final_trial(plan(tmp_path), "grpo", 3e-4, 0).recipe.data.evaluate == "test"


def test_a_recipe_that_samples_nothing_gets_the_seconds_of_the_reference(tmp_path):
    whole = plan(tmp_path)
    assert not own_budget(whole, whole.recipes["sft"])
    assert final_trial(whole, "sft", 1e-4, 0, 42.5).recipe.budget == BudgetConfig(seconds=42.5, evaluations=3)
    stored = load_recipes(["dpo"], ["pairs.path=pairs.jsonl"])["dpo"]
    assert not own_budget(whole, stored)


def test_minutes_are_a_budget_for_all(tmp_path):
    whole = plan(tmp_path, limit="minutes", amount=2.0)
    assert own_budget(whole, whole.recipes["sft"])
    assert final_trial(whole, "sft", 1e-4, 0).recipe.budget.seconds == 120
    assert tuning_trial(whole, "sft", 1e-4).recipe.budget.seconds == 30


def test_a_rendered_collection_is_shared_by_all_trials_and_a_dataset_is_kept(tmp_path):
    assert final_trial(plan(tmp_path), "sft", 1e-4, 0, 1.0).recipe.data.path == str(tmp_path / "pages")
    recipes = load_recipes(["grpo"], ["data.path=scans/"])
    assert final_trial(plan(tmp_path, recipes=recipes), "grpo", 1e-4, 0).recipe.data.path == "scans/"


def file(folder, name, text):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.toml").write_text(text)
    return str(folder / f"{name}.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'base = "grpo"\n[model]\nlora_rank = 4\n',
            r"model.lora_rank is 4 in mine and 0 in grpo; a comparison needs one",
        ),
        ('base = "grpo"\n[rollout]\nmax_tokens = 9\n', r"rollout.max_tokens is 9 in mine and 64 in grpo"),
        ('base = "grpo"\n[reward]\nweights = { exact = 1.0 }\n', r"reward.weights is .* in mine and .* in grpo"),
    ],
)
def test_recipes_with_another_policy_collection_or_reward_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_recipes(["grpo", file(tmp_path, "mine", text)], ())


def test_what_differs_may_be_set_for_all_and_a_control_may_permute_its_rewards(tmp_path):
    mine = file(tmp_path, "mine", 'base = "grpo"\n[reward]\npermute = true\n[rollout]\nmax_tokens = 9\n')
    recipes = load_recipes(["grpo", mine], ["rollout.max_tokens=20"])
    assert list(recipes) == ["grpo", "mine"]
    assert (recipes["mine"].reward.permute, recipes["mine"].rollout.max_tokens) == (True, 20)


def test_one_name_twice_and_a_reward_model_are_refused(tmp_path):
    with pytest.raises(ValueError, match="two recipes are called grpo; give their files different names"):
        load_recipes(["grpo", file(tmp_path, "grpo", 'base = "dpo"\n')], ())
    with pytest.raises(ValueError, match="reward-model trains no policy; leave it out"):
        load_recipes(["reward-model"], ())


def test_the_reference_is_grpo_or_the_first_and_must_have_a_budget_to_give():
    recipes = load_recipes(["sft", "dpo", "grpo"], ())
    assert chosen_reference(recipes, None, "pages") == "grpo"
    assert chosen_reference(recipes, "dpo", "pages") == "dpo"
    without = {"sft": recipes["sft"], "dpo": recipes["dpo"]}
    assert chosen_reference(without, None, "minutes") == "sft"
    with pytest.raises(ValueError, match=r"sft samples no completions, so a budget of pages does not .* --against dpo"):
        chosen_reference(without, None, "pages")
    with pytest.raises(ValueError, match="--against ppo: not one of the recipes; write one of sft, dpo"):
        chosen_reference(without, "ppo", "pages")


def test_a_trial_that_was_run_by_another_recipe_is_not_taken_for_this_one(tmp_path):
    whole = plan(tmp_path)
    trial = final_trial(whole, "grpo", 1e-4, 0)
    assert not is_done(trial)
    trial.path.parent.mkdir(parents=True)
    trial.recipe_file.write_text(to_toml(trial.recipe))
    assert not is_done(trial)  # begun, but its folder was not created
    trial.stopped.write_text("step 3: the gradient norm is nan\n")
    assert is_done(trial)
    with pytest.raises(
        ValueError, match=r"seed_0.toml: budget.completions was 1000 and is now 2000. Give another --out"
    ):
        is_done(final_trial(replace(whole, amount=2000.0), "grpo", 1e-4, 0))


CHAIN = """
[[stages]]
base = "sft"
[stages.train]
steps = 5

[[stages]]
base = "unlabelled"
"""


def test_a_chain_has_the_budget_for_all_its_stages_and_the_last_one_ends_by_it(tmp_path):
    recipes = load_recipes(["grpo", file(tmp_path, "two", CHAIN)], ())
    whole = plan(tmp_path, recipes=recipes)
    assert not own_budget(whole, recipes["two"])  # SFT samples nothing
    chain = final_trial(whole, "two", None, 1, 42.5).recipe
    assert chain.budget == BudgetConfig(seconds=42.5, evaluations=3)
    sft, last = recipes_of(chain)
    assert (sft.train.steps, last.train.steps, last.budget) == (5, 0, BudgetConfig())
    assert (sft.train.learning_rate, last.train.learning_rate) == (1e-4, 2e-4)  # those of the recipes
    assert {(one.train.seed, one.data.evaluate, one.data.path) for one in (sft, last)} == {
        (1, "test", str(tmp_path / "pages"))
    }
    tuned = tuning_trial(replace(whole, limit="minutes", amount=2.0), "two", 1e-3)
    assert tuned.recipe.budget == BudgetConfig(seconds=30.0)
    assert [one.train.learning_rate for one in recipes_of(tuned.recipe)] == [1e-3, 1e-3]
    assert tuned.stages == [tuned.path / "1-sft", tuned.path / "2-unlabelled"]


def test_a_chain_whose_stages_all_sample_is_counted_in_completions(tmp_path):
    text = '[[stages]]\nbase = "unlabelled"\n[[stages]]\nbase = "grpo"\n'
    whole = plan(tmp_path, recipes=load_recipes([file(tmp_path, "two", text)], ()), reference="two")
    assert own_budget(whole, whole.recipes["two"])
    assert final_trial(whole, "two", 1e-4, 0).recipe.budget == BudgetConfig(completions=1000, evaluations=3)
    assert chosen_reference(whole.recipes, None, "completions") == "two"
    recipes = load_recipes(["grpo", file(tmp_path, "sft-two", CHAIN)], ())
    with pytest.raises(ValueError, match=r"sft-two samples no completions in some stage, so .* --against grpo"):
        chosen_reference(recipes, "sft-two", "completions")


def test_stages_must_agree_with_the_others_on_the_pages_that_are_held_out(tmp_path):
    with pytest.raises(ValueError, match=r"data.train is 'labelled or unlabelled' in few-labels and 'all' in grpo"):
        load_recipes(["grpo", "few-labels"], ())
    labelled = file(tmp_path, "sft-few", 'base = "sft"\n[data]\ntrain = "labelled"\n')
    assert list(load_recipes([labelled, "few-labels"], ())) == ["sft-few", "few-labels"]


def test_a_reward_of_agreement_alone_is_not_what_recipes_are_evaluated_by(tmp_path):
    whole = plan(tmp_path, recipes=load_recipes(["unlabelled", "grpo"], ()), reference="unlabelled")
    assert evaluation_reward(whole) == load_recipe("grpo").reward
    alone = plan(tmp_path, recipes=load_recipes(["unlabelled"], ()), reference="unlabelled")
    assert evaluation_reward(alone).weights == {"similarity": 0.7, "pass_rate": 0.3}


def test_rates_are_chosen_by_the_reward_of_the_comparison(tmp_path):
    """The run itself was scored by agreement, of which a single transcription has none."""
    whole = plan(tmp_path, recipes=load_recipes(["grpo", "unlabelled"], ()))
    page = make_page(0, text="abcd")
    for label, own in (("grpo", 0.9), ("unlabelled", 0.0)):
        trial = tuning_trial(whole, label, 1e-4)
        row = {"id": page.id, "text": "abcx", "finish_reason": "end"}
        RunFolder.create(trial.path, "").write_eval(
            "after", {"reward": own, "cer": 0.25, "pass_rate": None, "pages": [row]}
        )
    found = {label: tuning_rates(whole, tuning_trial(whole, label, 1e-4), [page]) for label in ("grpo", "unlabelled")}
    assert found["grpo"]["reward"] == 0.9
    assert found["unlabelled"] == {"reward": pytest.approx(0.75), "cer": 0.25, "pass_rate": None, "failed": None}
    found["unlabelled"] = found["unlabelled"] | {"failed": "step 3: nan"}
    with pytest.raises(ValueError, match="unlabelled reached its end at no learning rate"):
        chosen_rate(replace(whole, rates=(1e-4,)), "unlabelled", {("unlabelled", 1e-4): found["unlabelled"]})


def test_another_stage_of_a_chain_is_named_when_it_differs(tmp_path):
    whole = plan(tmp_path, recipes=load_recipes([file(tmp_path, "two", CHAIN)], ()), limit="minutes", reference="two")
    trial = final_trial(whole, "two", None, 0)
    trial.path.parent.mkdir(parents=True)
    trial.recipe_file.write_text(system_to_toml(trial.recipe))
    assert not is_done(trial)
    other = load_recipes([file(tmp_path, "two", CHAIN.replace("steps = 5", "steps = 6"))], ())
    with pytest.raises(ValueError, match=r"seed_0.toml: stages.1.train.steps was 5 and is now 6"):
        is_done(final_trial(replace(whole, recipes=other), "two", None, 0))


@pytest.mark.parametrize(
    ("name", "overrides", "held"),
    [
        ("grpo", [], ["policy"]),
        ("sft", [], ["policy"]),
        ("orpo", [], ["policy"]),
        ("dpo", [], ["policy", "reference"]),
        ("dpo", ["dpo.reference=precomputed", "pairs.path=pairs.jsonl"], ["policy"]),
        ("kto", ["model.lora_rank=4"], ["policy", "reference"]),
        ("rloo", [], ["policy", "reference"]),
        ("ppo", [], ["policy", "value head"]),
        ("ppo", ["ppo.critic=separate", "ppo.beta=0.1"], ["policy", "reference", "critic"]),
        ("grpo", ["reward.model=judge/"], ["policy", "reward model"]),
    ],
)
def test_the_models_in_memory_are_counted(name, overrides, held):
    assert models_held(load_recipes([name], overrides)[name]) == held


def test_the_error_of_a_command_is_its_last_message():
    """It may be the first line, or follow a progress bar, and have several lines."""
    assert error_in("Error: no such recipe\n") == "no such recipe"
    assert error_in("12%|# | 3/24\rError: step 4: the gradient norm is nan\nrun folder: a\n") == (
        "step 4: the gradient norm is nan\nrun folder: a"
    )
    assert error_in("Error: one\nmore\nError: two\n") == "two"
    assert error_in("Traceback\nValueError: Error: x\n") == ""


@pytest.mark.slow
def test_a_run_that_diverges_is_a_result_and_one_that_cannot_begin_is_a_mistake(tmp_path, pages):
    """Weights that the only update breaks; then a page to train on without a text."""
    data = tmp_path / "data"
    shutil.copytree(pages, data)
    whole = plan(tmp_path / "out", recipes=load_recipes(["sft"], [f"data.path={data}", "data.validation=0.5"]))
    trial = final_trial(whole, "sft", 1e30, 0, 0.01)
    run_trials([trial], 1, lambda trial: None, lambda trial: None)
    assert why_stopped(trial).startswith("step 1: the policy's logits are not finite: its update broke the weights")
    assert is_done(trial)

    rows = [json.loads(line) for line in (data / "metadata.jsonl").read_text().splitlines()]
    (data / "metadata.jsonl").write_text("".join(json.dumps(row | {"text": None}) + "\n" for row in rows))
    trial = final_trial(whole, "sft", 1e-4, 1, 0.01)
    with pytest.raises(ValueError, match=r"^sft, seed_1: \d of \d pages to train on have no text"):
        run_trials([trial], 1, lambda trial: None, lambda trial: None)
    assert not trial.stopped.exists()


def test_a_reference_that_stopped_lends_what_its_lowest_seed_used(tmp_path):
    whole = plan(tmp_path)
    trials = {seed: final_trial(whole, "grpo", 1e-4, seed) for seed in (2, 0, 1)}
    for seed, trial in trials.items():
        run = RunFolder.create(trial.path, "")
        run.log({"step": 1, "time/compute": 10.0 + seed, "peak_memory_mib": 1})
    trials[1].stopped.write_text("step 2: the loss is nan\n")
    assert reference_seconds(trials) == {2: 12.0, 0: 10.0, 1: 10.0}
    for trial in trials.values():
        trial.stopped.write_text("step 2: the loss is nan\n")
    with pytest.raises(ValueError, match="no run of the reference reached its end"):
        reference_seconds(trials)


def test_pages_that_were_rendered_by_another_recipe_are_not_taken(tmp_path):
    whole = plan(tmp_path)
    trial = final_trial(whole, "grpo", 1e-4, 0)
    trial.path.parent.mkdir(parents=True)
    trial.recipe_file.write_text(to_toml(trial.recipe))
    refuse_other_pages(whole)
    other = plan(tmp_path, recipes=load_recipes(["grpo"], ["render.style=scan"]))
    with pytest.raises(ValueError, match=r"seed_0.toml has another \[render\] than these recipes"):
        refuse_other_pages(other)


@pytest.mark.parametrize("overrides", [[], ["reward.weights.similarity=1.0"]])
def test_pages_without_labels_are_refused_before_anything_is_run(tmp_path, overrides):
    alone = plan(tmp_path, recipes={"a": load_recipe("unlabelled", overrides)}, reference="a")
    check_comparable(alone, [make_page(0, text="abc")])
    with pytest.raises(ValueError, match="compared on held-out pages with a text or tests; page1: the page cannot be"):
        check_comparable(alone, [make_page(0, text="abc"), replace(make_page(1), text=None)])

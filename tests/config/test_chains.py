"""Chains of recipes: read aloud, and mistakes in them."""

import pytest

from ocr_rl.config.chains import chain_names, chain_to_toml, find_chain, limited, load_chain, load_system, recipes_of
from ocr_rl.config.loader import load_recipe
from ocr_rl.config.schema import BudgetConfig


def write(tmp_path, text):
    (tmp_path / "chain.toml").write_text(text)
    return tmp_path / "chain.toml"


TWO = """
[data]
path = "scans/"

[[stages]]
base = "sft"
[stages.train]
steps = 5

[[stages]]
base = "grpo"
"""


@pytest.mark.parametrize("name", chain_names())
def test_every_shipped_chain_loads_and_its_resolved_form_is_the_same(name, tmp_path):
    chain = load_chain(find_chain(name))
    assert len(chain.stages) >= 2
    assert load_chain(write(tmp_path, chain_to_toml(chain))) == chain


def test_few_labels_is_sft_where_there_are_texts_and_then_consensus():
    first, second = load_chain(find_chain("few-labels")).stages
    assert (first.name, first.recipe.algorithm, first.recipe.data.train) == ("1-sft", "sft", "labelled")
    assert (second.name, second.recipe.reward.weights) == ("2-unlabelled", {"consensus": 1.0})


def test_a_stage_is_its_base_with_what_all_share_and_what_is_its_own(tmp_path):
    first, second = load_chain(write(tmp_path, TWO)).stages
    assert (first.name, second.name) == ("1-sft", "2-grpo")
    assert (first.recipe.data.path, second.recipe.data.path) == ("scans/", "scans/")
    assert (first.recipe.train.steps, second.recipe.train.steps) == (5, load_recipe("grpo").train.steps)


def test_overrides_are_for_all_stages_or_for_one(tmp_path):
    settings = ["train.seed=3", "model.path=org/vlm", "stages.2.train.steps=7"]
    first, second = load_chain(write(tmp_path, TWO), settings).stages
    assert (first.recipe.train.seed, second.recipe.train.seed) == (3, 3)
    assert (first.recipe.train.steps, second.recipe.train.steps) == (5, 7)
    assert first.recipe.model.path == "org/vlm"
    assert second.recipe.model.path == "tiny-scans"  # what it trains is the first's policy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages = 1", "stages is 1; write \\[\\[stages\\]\\] once for each stage"),
        ("stages = []", "once for each stage"),
        ('[[stages]]\nbase = "sfd"', "stage 1: base is 'sfd'; write one of"),
        ('[[stages]]\nbase = "sft"\n[stages.train]\nstep = 1', 'stage 1: "step" is not a key of \\[train\\]'),
        ('[[stages]]\nbase = "sft"\n[[stages]]\nbase = "grpo"\n[stages.rollout]\ngroup_size = 1', "group_size is 1"),
        ("x = ", "not valid TOML"),
        ('[[stages]]\nname = "a"\nbase = "sft"\n[[stages]]\nname = "a"\nbase = "grpo"', "the stages are named a, a"),
        ('[[stages]]\nname = "../x"\nbase = "sft"', "the stages are named"),
        ('[[stages]]\nbase = "reward-model"\n[[stages]]\nbase = "grpo"', "leaves no policy for the next stage"),
        ('[[stages]]\nbase = "sft"\n[[stages]]\nbase = "grpo"\n[stages.model]\npath = "a"', "leave out model.path"),
    ],
)
def test_a_mistake_names_file_and_stage(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_chain(write(tmp_path, text))


def test_an_override_of_a_stage_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="the stages are 1 to 2; write --set stages"):
        load_chain(write(tmp_path, TWO), ["stages.3.train.steps=1"])
    with pytest.raises(ValueError, match="continues with the policy of the one before"):
        load_chain(write(tmp_path, TWO), ["stages.2.model.path=a"])


def test_a_budget_beside_the_stages_is_for_all_of_them_together(tmp_path):
    chain = load_chain(write(tmp_path, "[budget]\ncompletions = 100\nseconds = 60.0\n" + TWO), ["budget.pages=50"])
    assert chain.budget == BudgetConfig(completions=100, seconds=60.0, pages=50)
    sft, grpo = recipes_of(chain)
    assert sft.budget == grpo.budget == BudgetConfig()
    spent = BudgetConfig(pages=20, seconds=45.5)
    assert limited(sft, chain.budget, BudgetConfig()).budget == BudgetConfig(pages=50, seconds=60.0)  # samples nothing
    assert limited(grpo, chain.budget, spent).budget == BudgetConfig(pages=30, completions=100, seconds=14.5)


def test_a_stage_keeps_its_own_lower_limits_and_trains_nothing_when_nothing_is_left():
    recipe = load_recipe("grpo", ["budget.completions=40", "budget.evaluations=2"])
    whole = BudgetConfig(completions=100)
    assert limited(recipe, whole, BudgetConfig(completions=50)).budget.completions == 40
    assert limited(recipe, whole, BudgetConfig(completions=70)).budget.completions == 30
    none = limited(recipe, whole, BudgetConfig(completions=128))
    assert (none.train.steps, none.budget) == (0, BudgetConfig(evaluations=2))


def test_a_budget_that_limits_no_stage_is_refused(tmp_path):
    text = '[budget]\ncompletions = 9\n[[stages]]\nbase = "sft"\n[[stages]]\nbase = "sft"\nname = "b"\n'
    with pytest.raises(ValueError, match=r"budget.completions limits none of the stages"):
        load_chain(write(tmp_path, text))
    text = '[budget]\npages = 9\n[[stages]]\nbase = "sft"\n[stages.train]\nschedule = "cosine"\n'
    with pytest.raises(ValueError, match=r"stage 1: train.schedule is .cosine.; write constant"):
        load_chain(write(tmp_path, text))


def test_a_name_that_is_neither_recipe_nor_chain_is_answered_with_both():
    with pytest.raises(
        ValueError, match=r'no recipe "nosuch"; write one of .*grpo.*, a chain \(.*few-labels.*\), or the'
    ):
        load_system("nosuch")
    assert load_system("grpo") == load_recipe("grpo")
    assert load_system("few-labels") == load_chain(find_chain("few-labels"))


def test_a_recipe_is_no_chain(tmp_path):
    assert find_chain("grpo") is None
    assert find_chain(str(write(tmp_path, 'base = "grpo"'))) is None


def test_few_learns_the_texts_and_then_from_rewards_until_held_out_documents_stop_to_improve():
    stages = load_chain(find_chain("few")).stages
    assert [stage.recipe.algorithm for stage in stages] == ["sft", "grpo"]
    for stage in stages:
        train = stage.recipe.train
        assert train.keep_best == "cer"
        assert train.patience > 0
        assert train.eval_every == train.checkpoint_every > 0  # so that the best step is there to be handed over

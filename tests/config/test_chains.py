"""Chains of recipes: read aloud, and mistakes in them."""

import pytest

from ocr_rl.config.chains import chain_names, chain_to_toml, find_chain, load_chain
from ocr_rl.config.loader import load_recipe


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
    stages = load_chain(find_chain(name))
    assert len(stages) >= 2
    assert load_chain(write(tmp_path, chain_to_toml(stages))) == stages


def test_few_labels_is_sft_where_there_are_texts_and_then_consensus():
    first, second = load_chain(find_chain("few-labels"))
    assert (first.name, first.recipe.algorithm, first.recipe.data.train) == ("1-sft", "sft", "labelled")
    assert (second.name, second.recipe.reward.weights) == ("2-unlabelled", {"consensus": 1.0})


def test_a_stage_is_its_base_with_what_all_share_and_what_is_its_own(tmp_path):
    first, second = load_chain(write(tmp_path, TWO))
    assert (first.name, second.name) == ("1-sft", "2-grpo")
    assert (first.recipe.data.path, second.recipe.data.path) == ("scans/", "scans/")
    assert (first.recipe.train.steps, second.recipe.train.steps) == (5, load_recipe("grpo").train.steps)


def test_overrides_are_for_all_stages_or_for_one(tmp_path):
    settings = ["train.seed=3", "model.path=org/vlm", "stages.2.train.steps=7"]
    first, second = load_chain(write(tmp_path, TWO), settings)
    assert (first.recipe.train.seed, second.recipe.train.seed) == (3, 3)
    assert (first.recipe.train.steps, second.recipe.train.steps) == (5, 7)
    assert (first.recipe.model.path, second.recipe.model.path) == ("org/vlm", "tiny")  # the second takes the first's


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


def test_a_recipe_is_no_chain(tmp_path):
    assert find_chain("grpo") is None
    assert find_chain(str(write(tmp_path, 'base = "grpo"'))) is None

"""`[reward] rubric`: a rubric gives the values of a recipe's reward, and keys beside it have priority."""

import re

import pytest

from ocr_rl.config.chains import load_chain
from ocr_rl.config.loader import load_recipe, to_toml
from ocr_rl.config.schema import RewardConfig
from ocr_rl.rewards.reward_function import make_rubric
from ocr_verifiers import load_rubric, parse_test
from ocr_verifiers.rewards.rubric import rubric_names

OWN = """
unit = "grapheme"
normalization = ["nfc", "long_s", "whitespace"]
functions = ["mine.py:score"]
equivalences = "pairs.tsv"
output = "doctags"
unsupported = 0.2
[weights]
similarity = 2
[gates]
end = 0.25
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "mine.py").write_text("def score(completion, page):\n    return 1.0\n")
    (tmp_path / "pairs.tsv").write_text("&c.\tetc.\n")
    (tmp_path / "own.toml").write_text(OWN)
    return tmp_path


def test_a_rubric_of_ones_own_gives_all_its_values_to_the_recipe(own):
    (own / "recipe.toml").write_text('base = "grpo"\n[reward]\nrubric = "own.toml"\n')
    recipe = load_recipe(str(own / "recipe.toml"))
    assert recipe.model.output == "doctags"
    assert make_rubric(recipe.reward).weights == {"similarity": 2.0, "score": 1.0}
    made, loaded = make_rubric(recipe.reward), load_rubric(own / "own.toml")
    assert made.gates == {"end": 0.25, "repetition": 1.0}
    for name in ("unit", "normalization", "functions", "equivalences", "unsupported", "agreement", "compat"):
        assert getattr(made, name) == getattr(loaded, name)


@pytest.mark.parametrize("name", rubric_names())
def test_every_shipped_rubric_scores_in_training_as_it_does_alone(name):
    made, shipped = make_rubric(load_recipe("grpo", [f"reward.rubric={name}"]).reward), load_rubric(name)
    page = "Sum 12\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nEnd."
    test = {"pdf": "a.pdf", "page": 1, "id": "t", "type": "present", "text": "Sum 12"}
    tests = [parse_test(test, "test", shipped.compat)]
    for completion in (page, page.replace("12", "13"), page * 40, ""):
        for finished in (True, False):
            rewards = [
                rubric.score(completion, reference=page, tests=tests, finished=finished).reward
                for rubric in (made, shipped)
            ]
            assert rewards[0] == rewards[1]


def test_keys_beside_the_rubric_and_later_settings_have_priority(own):
    (own / "recipe.toml").write_text('[reward]\nrubric = "ledger"\nend_gate = 0.75\n')
    reward = load_recipe(str(own / "recipe.toml"), ["reward.weights.numbers=5"]).reward
    assert reward.weights == {"numbers": 5.0, "similarity": 1.0, "tables": 1.0}
    assert reward.end_gate == 0.75
    assert reward.repetition_gate == 0.5


def test_a_later_rubric_replaces_all_that_an_earlier_one_or_the_recipe_said():
    reward = load_recipe("grpo", ["reward.rubric=olmocr", "reward.unit=grapheme", "reward.rubric=layout"]).reward
    assert reward.compat == ""
    assert reward.unit == "codepoint"
    assert set(reward.weights) == {"similarity", "paragraphs", "reading_order"}


def test_the_resolved_recipe_needs_no_rubric_file(own, tmp_path):
    recipe = load_recipe("grpo", [f"reward.rubric={own / 'own.toml'}"])
    (own / "own.toml").unlink()
    (tmp_path / "resolved.toml").write_text(to_toml(recipe))
    assert load_recipe(str(tmp_path / "resolved.toml")) == recipe


def test_the_stages_of_a_chain_have_rubrics(own):
    (own / "chain.toml").write_text(
        '[reward]\nrubric = "ledger"\n'
        '[[stages]]\nbase = "grpo"\n'
        '[[stages]]\nbase = "grpo"\nreward.rubric = "own.toml"\n'
    )
    first, second = load_chain(own / "chain.toml").stages
    assert set(first.recipe.reward.weights) == {"numbers", "similarity", "tables"}
    assert set(second.recipe.reward.weights) == {"similarity", "score"}


def test_files_of_functions_are_found_from_the_recipes_folder(own, monkeypatch):
    (own / "recipe.toml").write_text('[reward]\nfunctions = ["mine.py:score"]\n')
    spec = str(own / "mine.py:score")
    assert load_recipe(str(own / "recipe.toml")).reward.functions == [spec]
    monkeypatch.chdir(own)
    assert load_recipe("grpo", ['reward.functions=["mine.py:score"]']).reward.functions == [spec]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["reward.rubric=nope"], '--set reward.rubric=nope: reward.rubric: no rubric "nope"; write one of default, '),
        (["reward.rubric=nope.toml"], "reward.rubric: nope.toml: No such file or directory"),
        (["reward.rubric=3"], "reward.rubric is 3; write a rubric's name, or the path of a TOML file"),
        (["reward.rubric=ledger", "reward.processes=0", 'reward.functions=["a.py:f"]'], "reward.processes is 0; write"),
    ],
)
def test_a_mistake_about_a_rubric_is_named(overrides, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_recipe("grpo", overrides)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (RewardConfig(weights={"similarty": 1.0}), r'\[reward\]: unknown quality part "similarty"; did you mean'),
        (RewardConfig(normalization=["nfd"]), r'\[reward\]: unknown normalization "nfd"'),
        (RewardConfig(functions=["a.py"]), r'\[reward\]: functions has ".*a.py"; write FILE.py:NAME'),
    ],
)
def test_a_value_that_no_rubric_can_have_is_named(config, message):
    with pytest.raises(ValueError, match=message):
        make_rubric(config)

"""A learning curve: each recipe with each number of pages, and what is said of it."""

import json

import pytest
from PIL import Image

from helpers.commands import refused, run
from ocr_rl.comparison.outcome import learning_curves
from ocr_rl.comparison.plan import load_recipes, with_amounts
from ocr_rl.config.chains import recipes_of


def test_each_recipe_and_every_stage_of_a_chain_has_each_amount():
    systems = with_amounts(load_recipes(["grpo", "few"], ["rollout.max_tokens=64"]), [64, 16])
    assert list(systems) == ["grpo@16", "grpo@64", "few@16", "few@64"]
    amounts = {label: {recipe.data.amount for recipe in recipes_of(system)} for label, system in systems.items()}
    assert amounts == {"grpo@16": {16}, "grpo@64": {64}, "few@16": {16}, "few@64": {64}}
    plain = load_recipes(["grpo"], [])
    assert with_amounts(plain, []) == plain


def compared(last):
    """`few` with three amounts, and how the second differs from the third, the reference."""
    cers = {"few@16": 0.4, "few@64": 0.3, "few@256": 0.25}
    low, p = (0.02, 0.001) if last == "worse" else (-0.01, 0.2)
    difference = {"cer": {"difference": 0.05, "difference_ci": [low, 0.1], "p": p, "p_holm": p}}
    rows = {
        label: {"final": {"cer": cer}, "against": None if label == "few@256" else difference}
        for label, cer in cers.items()
    }
    start = {"cer": 0.5, "pass_rate": None, "exact": 0.1, "reward": 0.5}
    return {"start": start, "recipes": rows, "settings": {"reference": "few@256"}}


def test_it_says_whether_more_pages_would_help():
    curve = "few: CER 0.400 with 16, 0.300 with 64, 0.250 with 256 pages; more "
    assert learning_curves(compared("worse")) == [curve + "would probably help."]
    assert learning_curves(compared("unclear")) == [curve + "have not been shown to help."]


def test_a_comparison_without_amounts_has_no_curve():
    found = compared("worse")
    found["recipes"] = {"few": found["recipes"]["few@16"]}
    assert learning_curves(found) == []


@pytest.mark.parametrize(
    ("amounts", "message"),
    [
        ("16,0", "--amounts has 0; write numbers of pages"),
        ("16,16", "--amounts 16,16: write each once"),
        ("16,many", "--amounts 16,many"),
    ],
)
def test_amounts_that_are_none_are_refused(tmp_path, amounts, message):
    assert message in refused("compare", "--recipe", "grpo", "--amounts", amounts, "--out", tmp_path / "out")


def test_more_pages_than_there_are_to_train_on_are_refused_before_the_first_run(tmp_path):
    """Of six pages, two are held out."""
    for number in range(6):
        Image.new("L", (8, 8)).save(tmp_path / f"{number}.png")
    rows = [{"file_name": f"{n}.png", "text": f"text {n}", "split": "test" if n < 2 else "train"} for n in range(6)]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["--recipe", "few", "--budget", "minutes=1", "--data", tmp_path, "--out", tmp_path / "out"]
    for dry_run in ([], ["--dry-run"]):
        message = refused("compare", *command, "--amounts", "2,1000", *dry_run)
        assert "few@1000: data.amount is 1000, but there are 4 pages to train on; write at most that" in message
        assert not [*tmp_path.glob("out/*/few@*")]


def test_an_amount_of_a_recipe_is_not_replaced(tmp_path):
    command = ["--recipe", "few", "--set", "data.amount=32", "--budget", "minutes=1", "--out", tmp_path / "out"]
    message = refused("compare", *command, "--amounts", "16,64")
    assert "data.amount is 32 in few, and --amounts takes its place; leave one of them out" in message


def test_the_dry_run_names_all_of_them(tmp_path):
    budget = ["--budget", "minutes=1", "--seeds", "0", "--rates", "own"]
    result = run("compare", "--recipe", "few", "--amounts", "16,64", *budget, "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "few@16" in result.stdout
    assert "few@64" in result.stdout

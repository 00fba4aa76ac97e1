"""A step that is chosen by some held-out pages is reported by others."""

from dataclasses import replace
from pathlib import Path

import pytest

from helpers.tiny_models import make_page, make_recipe
from ocr_rl import EvaluateOptions, evaluate, load_pages, load_recipe, train
from ocr_rl.data.splits import held_out_pages
from ocr_rl.pipeline.job import pages_to_choose_on
from ocr_rl.runs.resume import refuse_changes

SAMPLE = "data/sample"


def halves(recipe, pages):
    return [held_out_pages(pages, replace(recipe.data, evaluate=half), 0)[1] for half in ("tuning", "test")]


def test_the_best_step_by_one_half_is_evaluated_on_the_other(tmp_path):
    recipe = load_recipe(
        "sft",
        [
            f"data.path={SAMPLE}",
            "data.validation=0.3",
            "data.evaluate=test",
            "rollout.max_tokens=24",
            "rollout.pages_per_step=2",
            "train.steps=3",
            "train.eval_every=1",
            "train.keep_best=cer",
            "train.learning_rate=0.003",  # every step is worse than the one before
        ],
    )
    tuning, test = halves(recipe, load_pages(SAMPLE))
    run = train(recipe, tmp_path / "run", say=lambda line: None)
    assert {row["id"] for row in run.read_eval("before")["pages"]} == {page.id for page in test}
    assert [step.metrics["eval/n"] for step in run.logged()] == [len(tuning)] * 3
    best = run.best()
    assert best["step"] < 3
    options = EvaluateOptions(model=str(run.checkpoint(best["step"])), max_tokens=24)
    assert evaluate(tuning, options)["cer"] == pytest.approx(best["value"])
    found = evaluate(test, options)
    assert [page["text"] for page in run.read_eval("after")["pages"]] == [page["text"] for page in found["pages"]]


@pytest.mark.parametrize("changes", [{}, {"data_evaluate": "tuning", "train_patience": 2}, {"data_evaluate": "test"}])
def test_where_nothing_is_chosen_for_a_report_all_evaluations_are_of_the_same_pages(changes):
    pages = [make_page(i, text="abc") for i in range(20)]
    recipe = make_recipe(data_validation=0.5, train_eval_every=1, **changes)
    held_out = held_out_pages(pages, recipe.data, 0)[1]
    assert pages_to_choose_on(recipe, pages, held_out) is held_out


def test_a_resumed_run_does_not_begin_to_choose_by_other_pages():
    trained = make_recipe(data_evaluate="test", train_eval_every=1)
    wanted = replace(trained, train=replace(trained.train, patience=2))
    with pytest.raises(
        ValueError, match=r"train\.patience is 0 in a\.toml and cannot become 2: with data\.evaluate = test"
    ):
        refuse_changes(trained, wanted, Path("a.toml"))
    everywhere = make_recipe(train_eval_every=1)
    refuse_changes(everywhere, replace(everywhere, train=wanted.train), Path("a.toml"))

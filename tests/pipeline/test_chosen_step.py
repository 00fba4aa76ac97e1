"""A step that is chosen by some held-out pages is reported by others."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.tiny_models import make_page, make_recipe
from ocr_rl import EvaluateOptions, evaluate, load_pages, load_recipe, resume, train
from ocr_rl.data.splits import held_out_pages
from ocr_rl.pipeline.job import pages_to_choose_on
from ocr_rl.runs.resume import refuse_changes

SAMPLE = "data/sample"


def halves(recipe, pages):
    return [held_out_pages(pages, replace(recipe.data, evaluate=half), 0)[1] for half in ("tuning", "test")]


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """A copy of the sample, and a run that chose its best step on the tuning half of its held-out pages."""
    folder = tmp_path_factory.mktemp("chosen")
    shutil.copytree(SAMPLE, folder / "pages")
    recipe = load_recipe(
        "sft",
        [
            f"data.path={folder / 'pages'}",
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
    return recipe, folder / "pages", train(recipe, folder / "run", say=lambda line: None)


def test_the_best_step_by_one_half_is_evaluated_on_the_other(chosen):
    recipe, folder, run = chosen
    tuning, test = halves(recipe, load_pages(folder))
    assert {row["id"] for row in run.read_eval("before")["pages"]} == {page.id for page in test}
    assert [step.metrics["eval/n"] for step in run.logged()] == [len(tuning)] * 3
    best = run.best()
    assert best["step"] < 3
    options = EvaluateOptions(model=str(run.checkpoint(best["step"])), max_tokens=24)
    assert evaluate(tuning, options)["cer"] == pytest.approx(best["value"])
    found = evaluate(test, options)
    assert [page["text"] for page in run.read_eval("after")["pages"]] == [page["text"] for page in found["pages"]]


def changed(row):
    return [row | {"text": "another text"}]


def removed(row):
    return []


@pytest.mark.parametrize(
    ("half", "change", "reason"),
    [
        (0, changed, "ids, prompts, texts or tests have changed. Restore the old pages, or start another run"),
        (1, changed, "ids, prompts, texts or tests have changed. Restore the old pages, or start another run"),
        (0, removed, "1 of {} have been removed. --allow-removed-pages continues without them"),
    ],
)
def test_a_run_is_not_resumed_with_other_pages_to_evaluate(chosen, half, change, reason):
    """Neither those that a step is chosen on nor those that are reported; nothing of the run is lost."""
    recipe, folder, run = chosen
    both = halves(recipe, load_pages(folder))
    page = both[half][0].id
    rows, tests = (folder / name for name in ("metadata.jsonl", "tests.jsonl"))
    before = {file: file.read_text() for file in (rows, tests)}
    kept = {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}
    of_page = [json.loads(line) for line in before[rows].splitlines()]
    new = [one for row in of_page for one in (change(row) if row["file_name"] == page else [row])]
    names = {row["file_name"] for row in new}
    rows.write_text("".join(json.dumps(row) + "\n" for row in new))
    tests.write_text("".join(line for line in before[tests].splitlines(True) if json.loads(line)["pdf"] in names))
    try:
        with pytest.raises(ValueError, match="pages to evaluate are not those of") as error:
            resume(run.path, ["train.steps=4"], say=lambda line: None)
    finally:
        for file, text in before.items():
            file.write_text(text)
    assert f"those of {run.path}/eval/pages.json: {reason.format(sum(map(len, both)))}" in str(error.value)
    assert {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()} == kept


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

"""One bad page never costs a run: it is left out, named and counted."""

import json
from dataclasses import replace

import pytest

from helpers.grpo_steps import run_training as run_grpo
from helpers.tiny_models import assert_all_close, completion, make_page, make_policy, make_recipe, weights
from ocr_rl.algorithms.preference.registry import LEARNERS
from ocr_rl.algorithms.preference.trainer import PreferenceTrainer
from ocr_rl.algorithms.sft import SftTrainer
from ocr_rl.data.images import ImageError
from ocr_rl.errors import TrainingStoppedError
from ocr_rl.rewards.preferences import LabelledCompletion, Pair
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.runs.folder import RunFolder
from ocr_rl.runs.resume import ResumePoint
from ocr_rl.training.loop import TrainingLoop


def torn():
    raise ImageError("torn.png", "is torn")


def broken(page):
    return replace(page, open_image=torn)


def good_pages(count):
    return [make_page(i, text="ab") for i in range(count)]


def examples_of(algorithm, pages):
    if algorithm == "kto":
        return [LabelledCompletion(page, completion("ab"), i % 2 == 0, 0.5) for i, page in enumerate(pages)]
    return [Pair(page, completion("ab"), completion("kl"), 1.0, 0.5) for page in pages]


def run_of(tmp_path, algorithm, pages, name="run", start=None, trainer=None, **changes):
    policy = make_policy()
    recipe = make_recipe(**{"train_steps": 6, "rollout_pages_per_step": 2} | changes)
    run = RunFolder.create(tmp_path / name, "") if start is None else RunFolder.open(tmp_path / name)
    engine = TransformersEngine(policy)
    if algorithm == "sft":
        trainer = (trainer or SftTrainer)(policy, engine, pages, recipe)
    else:
        learner = LEARNERS[algorithm](policy, recipe)
        trainer = PreferenceTrainer.stored(learner, engine, examples_of(algorithm, pages))
    TrainingLoop(trainer, policy, pages, recipe, run, lambda step: {}, start).run()
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return rows, policy, run


@pytest.mark.parametrize(
    ("algorithm", "options"), [("sft", {}), ("dpo", {}), ("dpo", {"dpo_reference": "live"}), ("orpo", {}), ("kto", {})]
)
def test_a_broken_page_is_left_out_named_and_counted(tmp_path, capsys, algorithm, options):
    pages = good_pages(4)
    pages[2] = broken(pages[2])
    rows, _, _ = run_of(tmp_path, algorithm, pages, **options)
    assert len(rows) == 6
    assert sum(row["refused"] for row in rows) == 3  # once in each of the three epochs
    assert [row["pages"] for row in rows] == [2 - row["refused"] for row in rows]
    assert capsys.readouterr().err.count("page2: left out: is torn\n") == 3


@pytest.mark.parametrize("algorithm", ["sft", "orpo"])
def test_the_rest_of_a_batch_is_learned_as_if_the_page_had_not_been_drawn(tmp_path, algorithm):
    pages = good_pages(2)
    options = {"train_steps": 1, "rollout_pages_per_step": 2}
    _, with_broken, _ = run_of(tmp_path, algorithm, [pages[0], broken(pages[1])], "a", **options)
    _, alone, _ = run_of(tmp_path, algorithm, pages[:1], "b", train_steps=1, rollout_pages_per_step=1)
    assert_all_close(weights(with_broken), weights(alone), 0.0)


@pytest.mark.parametrize("algorithm", ["sft", "orpo"])
def test_a_batch_whose_pages_are_all_refused_is_drawn_again(tmp_path, algorithm):
    pages = good_pages(3)
    pages[1] = broken(pages[1])
    rows, _, _ = run_of(tmp_path, algorithm, pages, rollout_pages_per_step=1)
    assert [row["pages"] for row in rows] == [1] * 6
    assert sum(row["refused"] for row in rows) in (2, 3)  # six steps take three epochs of two pages that can be read


def test_a_run_with_such_a_batch_resumes_at_the_page_that_follows(tmp_path):
    pages = good_pages(3)
    pages[1] = broken(pages[1])
    options = {"rollout_pages_per_step": 1, "train_checkpoint_every": 4}
    whole, policy, _ = run_of(tmp_path, "sft", pages, "whole", **options)
    run_of(tmp_path, "sft", pages, "part", **options, train_steps=4)
    recipe = make_recipe(train_steps=6, **options)
    start = ResumePoint(recipe, 4, tmp_path / "part" / "checkpoints" / "step_000004", ())
    rest, resumed, _ = run_of(tmp_path, "sft", pages, "part", start, **options)
    assert [row["loss"] for row in rest] == [row["loss"] for row in whole]
    assert_all_close(weights(resumed), weights(policy), 0.0)


@pytest.mark.parametrize("algorithm", ["sft", "orpo"])
def test_if_no_page_can_be_read_training_stops_and_says_so(tmp_path, algorithm):
    with pytest.raises(TrainingStoppedError, match=r"^step 1: none of the last \d+ pages could be read$"):
        run_of(tmp_path, algorithm, [broken(page) for page in good_pages(3)])


def test_grpo_draws_again_where_the_engine_refuses_a_whole_batch(tmp_path, capsys):
    pages = good_pages(3)
    pages[1] = broken(pages[1])
    run, _ = run_grpo(tmp_path, pages=pages, train_steps=5, rollout_pages_per_step=1)
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 5
    assert sum(row["refused"] for row in rows) == capsys.readouterr().err.count("page1: left out: is torn\n") >= 1


class Failing(SftTrainer):
    """Fails in step 3, before its update."""

    def step(self, step, rate):
        if step == 3:
            raise ValueError("something about one page")
        return super().step(step, rate)


def test_an_sft_run_that_is_interrupted_by_an_error_saves_what_it_has(tmp_path):
    with pytest.raises(ValueError, match="something about one page"):
        run_of(tmp_path, "sft", good_pages(3), trainer=Failing)
    assert [path.name for path in RunFolder(tmp_path / "run").checkpoints()] == ["step_000002"]

"""Every algorithm of the registry: it has a trainer, and a dry run that computes a gradient and changes nothing."""

from dataclasses import replace
from typing import get_args, get_type_hints

import pytest

from helpers.tiny_models import (
    assert_all_close,
    completion,
    gradients,
    group,
    make_page,
    make_policy,
    make_recipe,
    weights,
)
from ocr_rl.algorithms.preference.registry import LEARNERS
from ocr_rl.config.loader import load_recipe
from ocr_rl.config.schema import Recipe
from ocr_rl.pipeline.dry_run import dry_run
from ocr_rl.pipeline.job import ALGORITHMS, Job, chosen_pages, make_scorer, make_trainer, prepare
from ocr_rl.rewards.preferences import LabelledCompletion, Pair
from ocr_rl.rewards.reward_function import RewardFunction, make_rubric
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.types import ImageError, Page

REWARD_TO_GO = {
    "grpo_surrogate": "reinforce",
    "grpo_divide_by_std": False,
    "grpo_beta": 0.1,
    "grpo_kl_in": "reward",
    "grpo_returns": "reward_to_go",
}
CASES = {
    **{name: {} for name in ALGORITHMS},
    "grpo, parts apart": {"grpo_advantage": "decoupled"},
    "grpo, kl in the reward": {"grpo_beta": 0.1, "grpo_kl_in": "reward"},
    "grpo, reward to go": REWARD_TO_GO,
    "ppo, separate critic": {"ppo_critic": "separate", "ppo_beta": 0.1},
    "dpo, precomputed": {"dpo_reference": "precomputed"},
}


def test_data_train_chooses_pages_by_their_text():
    pages = [make_page(0, text="abc"), replace(make_page(1), text=None)]
    assert chosen_pages(pages, "labelled") == pages[:1]
    assert chosen_pages(pages, "unlabelled") == pages[1:]
    with pytest.raises(ValueError, match="none of the 1 pages to train on lacks a text"):
        chosen_pages(pages[:1], "unlabelled")


def job_of(case, **changes):
    recipe = make_recipe(**CASES[case] | changes)
    recipe = replace(recipe, algorithm=case.partition(",")[0])
    pages = [make_page(i, text="abc") for i in range(3)]
    policy = make_policy()
    reward_function = RewardFunction(make_rubric(recipe.reward), pages)
    return Job(recipe, pages[:2], pages[2:], pages[2:], policy, TransformersEngine(policy), reward_function)


def test_the_registry_has_every_algorithm_that_a_recipe_may_name():
    assert set(ALGORITHMS) == set(get_args(get_type_hints(Recipe)["algorithm"]))


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_a_dry_run_is_there_and_no_weight_changes(case):
    job = job_of(case)
    before = weights(job.policy)
    scored = job.reward_function.score_groups([group(job.train[0], "abc", "ab", "k", "ll")])
    scored = [replace(one, rewards=[0.0, 1.0, 2.0, 3.0]) for one in scored]
    with make_scorer(job) as scorer:
        trainer = make_trainer(job, scorer)
        trainer.dry_run(scored)
    trained = [weight for own in trainer.optimizer.param_groups for weight in own["params"]]
    assert any(weight.grad is not None and weight.grad.any() for weight in trained)
    assert_all_close(weights(job.policy), before, 0.0)


@pytest.mark.parametrize("case", ["grpo, parts apart", "reward-model", "kto"])
def test_a_dry_run_reports_what_a_run_takes(case):
    job, lines = job_of(case), []
    dry_run(job, lines.append)
    assert "2 to train on, 1 held out" in lines[0]
    assert "minutes at most for 2 steps" in lines[0]
    assert not any(gradient.any() for gradient in gradients(job.policy).values())


def broken_page(i):
    def refuse():
        raise ImageError(f"page{i}", "is not an image in a format that Pillow knows")

    return Page(f"page{i}", refuse, text="abc")


def test_a_dry_run_of_sft_samples_nothing_and_leaves_broken_pages_out(monkeypatch):
    job, lines = job_of("sft"), []
    monkeypatch.setattr(job.engine, "generate", None)
    dry_run(replace(job, train=[*job.train, broken_page(7)]), lines.append)
    assert "step        2 pages, each with its text" in lines[0]
    assert lines[0].endswith("left out    page7: is not an image in a format that Pillow knows")


def test_a_dry_run_without_a_readable_page_is_an_error():
    job = replace(job_of("sft"), train=[broken_page(7)])
    with pytest.raises(ValueError, match=r"^none of the first 1 pages can be read; page7: is not an image in a format"):
        dry_run(job)


@pytest.mark.parametrize("case", ["dpo", "dpo, precomputed", "kto"])
def test_a_dry_run_of_stored_examples_samples_nothing_and_counts_them(case, monkeypatch):
    """Two pages with three examples; one page's gradient is computed."""
    job, lines = job_of(case, pairs_path="pairs.jsonl"), []
    first, second = job.train
    if case == "kto":
        examples = [LabelledCompletion(first, completion("ab"), label, 0.5) for label in (True, False)]
        examples.append(LabelledCompletion(second, completion("k"), True, 0.5))
    else:
        examples = [Pair(page, completion("ab"), completion("k"), 0.9, 0.1) for page in (first, first, second)]
    monkeypatch.setattr(job.engine, "generate", None)
    learned = []
    accumulate = LEARNERS[job.recipe.algorithm].accumulate

    def counted(self, pages, *rest):
        learned.append([len(own) for own in pages])
        return accumulate(self, pages, *rest)

    monkeypatch.setattr(LEARNERS[job.recipe.algorithm], "accumulate", counted)
    dry_run(replace(job, examples=examples), lines.append)
    assert "step        2 pages, each with its examples: 3 on 2 pages in pairs.jsonl" in lines[0]
    assert learned == [[2]]  # those of the first of two prompts of the same length


def test_a_step_of_more_pages_than_there_are_and_weights_that_nobody_shares_are_named():
    lines = []
    recipe = load_recipe("grpo", ["rollout.engine=transformers", "train.shard=full", "train.offload=true"])
    job = prepare(recipe, [make_page(i, text="abc") for i in range(6)], lines.append)
    job.engine.close()
    assert job.policy.shards is None
    assert 'train.shard = "full" has no effect: there is one process' in lines
    assert "train.offload = true has no effect: there is one process" in lines
    assert "rollout.pages_per_step = 16: a step takes some of the 4 training pages several times" in lines

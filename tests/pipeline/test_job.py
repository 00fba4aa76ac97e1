"""Every algorithm of the registry: it has a trainer, and a dry run that computes a gradient and changes nothing."""

from dataclasses import replace
from typing import get_args, get_type_hints

import pytest

from helpers.tiny_models import assert_all_close, gradients, group, make_page, make_policy, make_recipe, weights
from ocr_rl.config.schema import Recipe
from ocr_rl.pipeline.dry_run import dry_run
from ocr_rl.pipeline.job import ALGORITHMS, Job, chosen_pages, make_scorer, make_trainer
from ocr_rl.rewards.reward_function import RewardFunction, make_rubric
from ocr_rl.rollouts.transformers_engine import TransformersEngine

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
    return Job(recipe, pages[:2], pages[2:], policy, TransformersEngine(policy), reward_function)


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

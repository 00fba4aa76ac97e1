"""One update of every algorithm on the same three pages, for comparing several processes with one."""

from dataclasses import replace
from functools import cache

import torch

from helpers.tiny_models import group, make_policy, make_recipe, pages_of_different_sizes
from ocr_rl.algorithms import grpo, ppo, reward_model
from ocr_rl.algorithms.ocd import OcdTrainer
from ocr_rl.algorithms.preference.registry import LEARNERS
from ocr_rl.algorithms.preference.sources import of_pages
from ocr_rl.algorithms.sft import SftTrainer
from ocr_rl.models.divided_tensors import whole
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.training.optimizer import clipped_step
from ocr_verifiers import Rubric

TEXTS = [["abc", "", "adfghi", "k"], ["l", "bb", "abcdef", "abcab"], ["kk", "abd", "hij", "c"]]
REWARDS = [[1.0, 0.2, 0.5, 0.0], [0.3, 0.9, 0.1, 0.4], [0.0, 0.7, 0.6, 1.0]]
PAGES = pages_of_different_sizes()
RATE = 50.0
"""So high that rounding does not hide the change of a weight."""


def scored(pages):
    """No completion of the third page is finished."""
    return [
        ScoredGroup(group(page, *texts, finished=i < 2), (), rewards)
        for i, (page, texts, rewards) in enumerate(zip(PAGES[:pages], TEXTS, REWARDS, strict=False))
    ]


class Update:
    """The update for one batch, by SGD: Adam divides by the gradient's size, which amplifies rounding where it is 0."""

    def __init__(self, learner, away_from_reference=False):
        self.learner = learner
        if away_from_reference:  # at the reference every margin, z and the KL are 0
            with torch.no_grad():
                learner.policy.head.weight.mul_(0.9)
        groups = learner.optimizer.param_groups
        learner.optimizer = torch.optim.SGD(
            [{"params": group["params"], "rate_factor": group.get("rate_factor", 1.0)} for group in groups], lr=0.0
        )
        self.weights = [weight for group in groups for weight in group["params"]]
        self.before = [weight.detach().clone() for weight in self.weights]

    def made(self, metrics):
        """The change of the weights, and the metrics."""
        change = torch.cat([whole(w.detach() - b).flatten() for w, b in zip(self.weights, self.before, strict=True)])
        return change, {key: value for key, value in metrics.items() if "time" not in key and "_per_s" not in key}


def learn_grpo(policy, pages, recipe):
    learner = grpo.GrpoLearner(policy, recipe)
    update = Update(learner, away_from_reference=recipe.grpo.beta > 0)
    groups = scored(pages)
    (_, spread), advantages = learner.advantages(groups)
    return update.made(learner.update(groups, advantages, spread, RATE))


def learn_sft(policy, pages, recipe):
    trainer = SftTrainer(policy, TransformersEngine(policy), PAGES[:pages], recipe)
    update = Update(trainer)
    trainer.start(0)
    return update.made(trainer.step(1, RATE).metrics)


def learn_ocd(policy, pages, recipe):
    scorer = GroupScorer(RewardFunction(Rubric(), PAGES), 0)
    trainer = OcdTrainer(policy, TransformersEngine(policy), PAGES[:pages], scorer, recipe)
    update = Update(trainer)
    metrics = trainer.accumulate(scored(pages), 1)
    return update.made(metrics | {"grad_norm": clipped_step(trainer.optimizer, trainer.parameters, RATE, 1.0)})


def learn_preferences(policy, pages, recipe):
    learner = LEARNERS[recipe.algorithm](policy, recipe)
    update = Update(learner, away_from_reference=True)
    return update.made(learner.update(of_pages(learner.choose(scored(pages))), RATE))


def learn_ppo(policy, pages, recipe):
    learner = ppo.PpoLearner(policy, recipe)
    update = Update(learner, away_from_reference=True)
    experience = learner.experience(scored(pages))
    metrics = learner.update(experience, RATE)
    metrics |= {f"advantage{i}": value for i, value in enumerate(ppo.mean_advantages(experience).flatten().tolist())}
    return update.made(metrics | {"next_kl_coefficient": learner.state.numbers["kl_coefficient"]})


def learn_reward_model(policy, pages, recipe):
    learner = reward_model.RewardModelLearner(policy, recipe)
    update = Update(learner)
    pairs = learner.pairs(scored(pages))
    before = {f"before/{name}": value for name, value in learner.agreement(pairs).items()}
    return update.made(before | learner.update(pairs, RATE))


def recipe(algorithm="grpo", **changes):
    return replace(make_recipe(**{"rollout_pages_per_step": 3} | changes), algorithm=algorithm)


CASES = {
    "grpo": (learn_grpo, 3, recipe()),
    "grpo of one page": (learn_grpo, 1, recipe()),
    "grpo of two pages": (learn_grpo, 2, recipe()),
    "grpo by sequences": (learn_grpo, 3, recipe(grpo_normalizer="sequence", train_micro_batch_tokens=9)),
    "grpo by a constant": (learn_grpo, 3, recipe(grpo_normalizer="constant", grpo_ratio="sequence")),
    "grpo over the batch": (learn_grpo, 3, recipe(grpo_advantage="batch")),
    "grpo without truncated completions": (learn_grpo, 3, recipe(grpo_mask_truncated=True)),
    "grpo with a kl in the loss": (learn_grpo, 3, recipe(grpo_beta=0.1)),
    "grpo with a kl in the reward": (learn_grpo, 3, recipe(grpo_beta=0.1, grpo_kl_in="reward")),
    "reinforce with reward to go": (
        learn_grpo,
        3,
        recipe(
            grpo_surrogate="reinforce",
            grpo_divide_by_std=False,
            grpo_beta=0.1,
            grpo_kl_in="reward",
            grpo_returns="reward_to_go",
        ),
    ),
    "grpo with one page worth learning": (learn_grpo, 3, recipe(grpo_min_group_std=0.43)),
    "grpo with nothing worth learning": (learn_grpo, 3, recipe(grpo_min_group_std=0.5)),
    "sft": (learn_sft, 3, recipe("sft")),
    "sft of one page": (learn_sft, 1, recipe("sft", rollout_pages_per_step=1)),
    "ocd": (learn_ocd, 3, recipe("ocd")),
    "ocd of one page, the rest of its text": (learn_ocd, 1, recipe("ocd", ocd_learn="rest")),
    "dpo": (learn_preferences, 3, recipe("dpo")),
    "dpo of one page": (learn_preferences, 1, recipe("dpo", pairs_choose="margin")),
    "orpo": (learn_preferences, 3, recipe("orpo")),
    "kto": (learn_preferences, 3, recipe("kto", kto_balance=True)),
    "kto of one page": (learn_preferences, 1, recipe("kto")),
    "ppo": (learn_ppo, 3, recipe("ppo", ppo_inner_epochs=1, ppo_beta=0.1, ppo_kl_target=0.5)),
    "ppo of one page": (learn_ppo, 1, recipe("ppo", ppo_inner_epochs=1)),
    "ppo with a separate critic": (learn_ppo, 3, recipe("ppo", ppo_inner_epochs=1, ppo_critic="separate")),
    "reward model": (learn_reward_model, 3, recipe("reward-model")),
    "reward model of one page": (learn_reward_model, 1, recipe("reward-model")),
}


TWICE = {
    "grpo in two updates": (learn_grpo, 3, recipe(grpo_updates_per_batch=2, train_max_grad_norm=0.02)),
    "grpo in two epochs": (learn_grpo, 3, recipe(grpo_inner_epochs=2, train_max_grad_norm=0.02)),
    "ppo in two updates": (learn_ppo, 3, recipe("ppo", ppo_updates_per_batch=2, train_max_grad_norm=0.02)),
}
"""Several small optimiser steps: the second starts from the rounding of the first."""


@cache
def outcome(name):
    """The change of the weights, and the metrics."""
    return made(make_policy("qwen" if name == "grpo" else "lighton"), name)


def made(policy, name):
    """The outcome with this policy."""
    learn, pages, wanted = (CASES | TWICE)[name]
    return learn(policy, pages, wanted)

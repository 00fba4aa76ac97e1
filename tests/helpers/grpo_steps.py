"""GRPO updates and short GRPO runs on tiny policies."""

import json

import pytest

from helpers.tiny_models import (
    gradients,
    group,
    make_page,
    make_policy,
    make_recipe,
    pages_of_different_sizes,
)
from ocr_rl.algorithms import grpo as grpo_module
from ocr_rl.algorithms.grpo import GrpoLearner, GrpoTrainer
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.runs.folder import RunFolder
from ocr_rl.training.group_advantages import advantages_of
from ocr_rl.training.loop import TrainingLoop
from ocr_verifiers import Rubric

TEXTS = [["abc", "", "adfghi", "k"], ["l", "bb", "abcdef", "abcab"]]
REWARDS = [[1.0, 0.2, 0.5, 0.0], [0.3, 0.9, 0.1, 0.4]]


def scored_groups(texts=TEXTS, rewards=REWARDS, finished=True):
    pages = pages_of_different_sizes()
    return [
        ScoredGroup(group(page, *row, finished=finished), (), values)
        for page, row, values in zip(pages, texts, rewards, strict=False)
    ]


def update(policy, recipe, scored=None, rate=1e-3, steps=1):
    """The metrics of each of `steps` updates on the same groups."""
    scored = scored or scored_groups()
    learner = GrpoLearner(policy, recipe)
    return [learner.update(scored, *advantages_of(scored, recipe.grpo), rate) for _ in range(steps)]


def gradient(policy, recipe, scored=None):
    """The gradient of an update on these groups, without the optimiser's step."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpo_module, "clipped_step", lambda *_: seen.append(gradients(policy)) or 0.0)
        update(policy, recipe, scored)
    assert len(seen) == 1
    return seen[0]


RUBRIC = Rubric(weights={"similarity": 1.0}, gates={"end": 0.5})


def run_training(tmp_path, name="run", engine=None, evaluate=lambda step: {}, pages=None, policy=None, **changes):
    """A training run on three pages; its folder and policy."""
    policy = policy or make_policy()
    pages = pages or [make_page(i, text="ab") for i in range(3)]
    recipe = make_recipe(**{"train_steps": 3, "train_keep_checkpoints": 2} | changes)
    run = RunFolder.create(tmp_path / name, "")
    engine = engine(policy) if engine else TransformersEngine(policy)
    trainer = GrpoTrainer(policy, engine, pages, GroupScorer(RewardFunction(RUBRIC, pages), 0), recipe)
    TrainingLoop(trainer, policy, pages, recipe, run, evaluate).run()
    return run, policy


def metrics_of(run):
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]

"""The reward model: its step compared with the plain model, whole runs, and its use as a reward."""

import json
import math
import shutil
from dataclasses import replace
from random import Random

import pytest
import torch

from helpers.runs import before_touching, contents, done, killed, metrics_of, resume, train
from helpers.tiny_models import (
    assert_all_close,
    completion,
    gradients,
    group,
    make_page,
    make_policy,
    make_recipe,
    pages_of_different_sizes,
    weights,
)
from ocr_rl.algorithms.reward_model import RewardModelLearner, RewardModelTrainer
from ocr_rl.config.loader import load_recipe
from ocr_rl.config.schema import ModelConfig, RewardModelConfig
from ocr_rl.config.validation import check
from ocr_rl.models.heads import ScalarHead
from ocr_rl.models.policy import Policy
from ocr_rl.models.reward_model import HEAD, RewardModel
from ocr_rl.pipeline.job import load_reward_model
from ocr_rl.rewards.preferences import Pair
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.reward_model_scorer import RewardModelScorer
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.runs.folder import RunFolder
from ocr_rl.training.loop import TrainingLoop
from ocr_verifiers import Rubric

RUBRIC = Rubric(weights={"similarity": 1.0}, gates={"end": 0.5})


def recipe_of(own=None, **changes):
    return replace(make_recipe(**changes), reward_model=RewardModelConfig(**(own or {})))


def noisy_head(size, seed=1, width=0):
    head, generator = ScalarHead(size, width), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return head


def moved(policy, recipe):
    """A learner whose head is not zero."""
    learner = RewardModelLearner(policy, recipe)
    learner.model.head.load_state_dict(noisy_head(policy.hidden_size, width=recipe.reward_model.width).state_dict())
    return learner


def some_pairs():
    """Two of the first page, one of the second; answers of 1 to 7 tokens, some cut off."""
    first, second = pages_of_different_sizes()[:2]
    return [
        Pair(first, completion("abc"), completion("k", finished=False), 0.9, 0.1),
        Pair(first, completion("adfghi"), completion("abc"), 1.0, 0.9),
        Pair(second, completion("l"), completion("abcabca", finished=False), 0.5, 0.0),
    ]


def plain_score(learner, page, one):
    """R from one full forward pass over page and completion: the head applied to the last state."""
    policy = learner.model.policy
    prompt = policy.prompt(page)
    inputs = dict(prompt.inputs)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([list(one.token_ids)])], 1)
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(one.token_ids)))
    hidden = policy.backbone(**inputs, use_cache=False).last_hidden_state[0, -1]
    return learner.model.head(hidden)


def taken(learner):
    own = {name: parameter.grad.clone() for name, parameter in learner.state.trained().items()}
    found = gradients(learner.model.policy) | own
    learner.optimizer.zero_grad()
    return found


@pytest.mark.parametrize("options", [{}, {"centring": 0.2, "width": 6}])
def test_the_gradient_of_a_step_is_that_of_the_plain_model_one_answer_at_a_time(policy, options):
    """L = mean of -log sigma(R_w - R_l) + c (R_w + R_l)^2."""
    learner, total = moved(policy, recipe_of(options)), 0.0
    for pair in some_pairs():
        chosen, rejected = (plain_score(learner, pair.page, one) for one in (pair.chosen, pair.rejected))
        centring = options.get("centring", 0.01)
        loss = (-torch.log(1 / (1 + torch.exp(rejected - chosen))) + centring * (chosen + rejected) ** 2) / 3
        loss.backward()
        total += loss.item()
    expected = taken(learner)
    found_loss, margins = learner.accumulate(some_pairs())
    assert_all_close(taken(learner), expected, 1e-5)
    assert found_loss == pytest.approx(total, rel=1e-5)
    assert len(margins) == 3
    assert max(g.abs().max() for name, g in expected.items() if "reward_head" not in name) > 1e-3
    assert not expected["lm_head.weight"].any()


def test_a_page_is_read_once_for_all_its_answers(policy, monkeypatch):
    read, original = [], policy.read
    monkeypatch.setattr(policy, "read", lambda prompt, **options: read.append(prompt) or original(prompt, **options))
    moved(policy, recipe_of()).accumulate(some_pairs())
    assert len(read) == 2


def test_gradient_checkpointing_does_not_change_the_step():
    found = []
    for checkpointing in (False, True):
        learner = moved(make_policy(gradient_checkpointing=checkpointing), recipe_of())
        learner.accumulate(some_pairs())
        found.append(taken(learner))
    assert_all_close(found[1], found[0], 1e-5)


def test_scores_do_not_depend_on_the_rest_of_the_batch(policy):
    """Nor on its pads."""
    model = moved(policy, recipe_of()).model
    page = make_page()
    alone = [model.rate(group(page, text))[0] for text in ("a", "abcabc", "")]
    assert model.rate(group(page, "a", "abcabc", "")) == pytest.approx(alone, abs=1e-6)
    assert len(set(alone)) == 3


def test_a_new_model_knows_nothing(policy):
    """R = 0: the loss is log 2, sigma(R) is one half, and a tie does not count as agreement."""
    learner = RewardModelLearner(policy, recipe_of())
    metrics = learner.update(some_pairs(), 0.0)
    assert metrics["loss"] == pytest.approx(math.log(2))
    assert (metrics["pairs"], metrics["pair_accuracy"], metrics["score_margin"]) == (3, 0.0, 0.0)
    assert learner.model.rate(group(make_page(), "a", "b")) == [0.5, 0.5]


def test_it_prefers_the_better_completion_after_a_few_steps(policy):
    learner = RewardModelLearner(policy, recipe_of())
    for _ in range(10):
        metrics = learner.update(some_pairs(), 3e-3)
    assert metrics["loss"] < 0.5 * math.log(2)
    assert learner.agreement(some_pairs())["pair_accuracy"] == 1.0
    better, worse = learner.model.rate(group(some_pairs()[0].page, "adfghi", "abc"))
    assert better > worse


def test_pairs_are_the_best_against_the_worst_or_all_that_are_a_margin_apart(policy):
    """Rewards 1, 0.6, 0.55, 0: at margin 0.1, five of six."""
    scored = [ScoredGroup(group(make_page(), "a", "b", "c", "d"), (), [1.0, 0.6, 0.55, 0.0])]
    best = RewardModelLearner(policy, recipe_of()).pairs(scored)
    assert [(p.chosen.text, p.rejected.text) for p in best] == [("a", "d")]
    assert len(RewardModelLearner(policy, recipe_of({"pairs_per_page": 9})).pairs(scored)) == 5
    assert len(RewardModelLearner(policy, recipe_of({"pairs_per_page": 2})).pairs(scored)) == 2
    closer = [replace(scored[0], rewards=[0.9, 0.6, 0.55, 0.0])]
    assert RewardModelLearner(policy, recipe_of({"margin": 1.0})).pairs(closer) == []


def test_a_step_without_a_pair_changes_nothing(policy):
    before = weights(policy)
    metrics = RewardModelLearner(policy, recipe_of(train_weight_decay=0.1)).update([], 1.0)
    assert (metrics["loss"], metrics["pairs"], metrics["pair_accuracy"], metrics["grad_norm"]) == (0.0, 0, None, 0.0)
    assert_all_close(weights(policy), before, 0.0)


# Whole runs.


def run_training(tmp_path, **changes):
    """On three pages, measured on another: rows, run folder and trainer."""
    policy = make_policy()
    pages, held_out = [make_page(i, text="ab") for i in range(3)], [make_page(3, text="ab")]
    recipe = recipe_of(**{"train_steps": 3} | changes)
    run = RunFolder.create(tmp_path / "run", "")
    scorer = GroupScorer(RewardFunction(RUBRIC, [*pages, *held_out]), 0)
    trainer = RewardModelTrainer(policy, TransformersEngine(policy), pages, held_out, scorer, recipe)
    TrainingLoop(trainer, policy, pages, recipe, run, lambda step: {}).run()
    return [json.loads(line) for line in run.metrics.read_text().splitlines()], run, trainer


def test_a_run_learns_to_agree_with_the_rules(tmp_path):
    """On pages that it was not trained on, from half of the pairs to nearly all. The sampling policy stays the same."""
    rows, _, trainer = run_training(
        tmp_path,
        train_steps=20,
        train_learning_rate=3e-3,
        train_eval_every=10,
        rollout_group_size=16,
        own={"pairs_per_page": 8},
    )
    assert rows[9]["eval/pairs"] == rows[19]["eval/pairs"] > 4
    assert rows[19]["eval/pair_accuracy"] > 0.8
    assert rows[19]["loss"] < rows[0]["loss"]
    assert trainer.measure()["pair_accuracy"] == rows[19]["eval/pair_accuracy"]
    start = TransformersEngine(make_policy()).generate([make_page(0)], Sampling(4, 1.0, 8), seed=5)
    trainer.sync_engine()
    assert trainer.engine.generate([make_page(0)], Sampling(4, 1.0, 8), seed=5)[0].completions == start[0].completions


def test_a_saved_model_loads_unchanged(tmp_path):
    _, run, trainer = run_training(tmp_path, train_learning_rate=3e-3)
    folder = run.checkpoints()[-1]
    assert (folder / HEAD).is_file()
    assert [file.name for file in folder.glob("*.safetensors")] == ["model.safetensors"]
    shutil.rmtree(folder / "trainer")
    again = RewardModel.load(ModelConfig(path=str(folder)))
    assert_all_close(weights(again.policy), weights(trainer.learner.model.policy), 0.0)
    answers = group(make_page(), "ab", "adfg", "")
    assert again.rate(answers) == trainer.learner.model.rate(answers) != [0.5] * 3
    assert not any(parameter.requires_grad for parameter in again.policy.model.parameters())


def test_a_run_killed_and_resumed_equals_one_that_was_not(place):
    options = {"algorithm": "reward-model", "train.steps": 5, "reward_model.margin": 1e-3, "reward_model.width": 4}
    options = [f"--set={key}={json.dumps(value)}" for key, value in options.items()]
    whole, run = place / "whole", place / "run"
    for folder in (whole, run):
        shutil.rmtree(folder, ignore_errors=True)
    finished = done(train(whole, *options))
    killed(train(run, *options, kill=before_touching("checkpoints/step_000004")))
    assert RunFolder(run).checkpoints()
    done(resume(run))
    assert contents(run) == contents(whole)
    assert len({row["grad_norm"] for row in metrics_of(whole)}) == 5
    after = json.loads((whole / "eval" / "after.json").read_text())
    assert f"pair_accuracy {after['pair_accuracy']:.4g}" in finished.output


def test_a_dry_run_trains_nothing(place):
    finished = done(train(place / "dry", "--set=algorithm=reward-model", "--dry-run"))
    assert "minutes at most" in finished.output


# As a reward.


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_the_reward_is_the_weighted_mean_of_rules_and_model(weight):
    """r = (1 - w) rules + w sigma(R)."""
    policy, pages = make_policy(), [make_page(i, text="ab") for i in range(2)]
    model = RewardModel(make_policy(seed=1), noisy_head(policy.hidden_size))
    engine, sampling = TransformersEngine(policy), Sampling(4, 1.0, 6)
    plain = GroupScorer(RewardFunction(RUBRIC, pages), 0).roll_out(engine, pages, sampling, seed=3).groups
    judged = (
        RewardModelScorer(model, weight, RewardFunction(RUBRIC, pages), 0)
        .roll_out(engine, pages, sampling, seed=3)
        .groups
    )
    for rules, found in zip(plain, judged, strict=True):
        ratings = model.rate(found.group)
        assert [score.parts["model"] for score in found.scores] == ratings
        expected = [(1 - weight) * r + weight * s for r, s in zip(rules.rewards, ratings, strict=True)]
        assert found.rewards == pytest.approx(expected)
        assert [score.reward for score in found.scores] == found.rewards
        assert found.group.completions == rules.group.completions


def test_a_control_run_permutes_these_rewards_within_their_group():
    policy, page = make_policy(), make_page(text="ab")
    judged = RewardModelScorer(
        RewardModel(policy, noisy_head(policy.hidden_size)), 1.0, RewardFunction(RUBRIC, [page]), 0
    )
    found = judged.roll_out(TransformersEngine(policy), [page], Sampling(6, 1.0, 6), 3, Random(1)).groups[0]
    own = [score.reward for score in found.scores]
    assert sorted(found.rewards) == sorted(own)
    assert found.rewards != own


@pytest.fixture
def reward_model(place):
    """A folder with a reward model that is untrained but not zero."""
    folder = place / "judge"
    if not folder.exists():
        policy = make_policy(seed=1)
        policy.save(folder)
        noisy_head(policy.hidden_size).save(folder / HEAD)
    return folder


@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_a_run_learns_from_a_reward_model(place, reward_model, algorithm):
    run = place / f"judged-{algorithm}"
    settings = {"algorithm": algorithm, "reward.model": str(reward_model), "train.steps": 2, "reward.model_weight": 0.5}
    done(train(run, *[f"--set={key}={json.dumps(value)}" for key, value in settings.items()]))
    for row in metrics_of(run):
        assert 0 < row["reward/model"] < 1
        rules = row["reward"] - 0.5 * row["reward/model"]
        assert 0 <= rules <= 0.5
    after = json.loads((run / "eval" / "after.json").read_text())
    assert "model" not in after  # held-out pages are scored by the rules alone


def test_a_folder_without_a_reward_model_is_refused(place, reward_model):
    finished = train(place / "none", "--set=reward.model=" + str(place / "policy"))
    assert finished.status == 2
    assert (
        f'reward.model "{place / "policy"}" has no reward_head/head.safetensors; give a checkpoint of'
        in finished.output
    )
    with pytest.raises(ValueError, match=r"reward\.model is 'x'; write nothing \(\"\"\) where algorithm is"):
        check(replace(make_recipe(reward_model="x"), algorithm="reward-model"))
    with pytest.raises(ValueError, match=r"reward\.model_weight is 0\.0; write a number above 0 and at most 1"):
        load_recipe("grpo", ["reward.model_weight=0.0"])


def test_a_reward_model_with_another_vocabulary_is_refused(reward_model):
    with pytest.raises(ValueError, match=r"has another vocabulary than model\.path; train one from that model"):
        load_reward_model(make_recipe(reward_model=str(reward_model)), Policy.load(ModelConfig(path="tiny")))

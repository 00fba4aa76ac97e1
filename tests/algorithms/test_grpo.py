"""The GRPO update on tiny policies, compared with the plain model and with itself; short training runs."""

import math
from dataclasses import replace
from random import Random

import pytest
import torch

from helpers.grpo_steps import REWARDS, RUBRIC, gradient, metrics_of, run_training, scored_groups, update
from helpers.tiny_models import (
    ARCHITECTURES,
    EOS,
    PAD,
    assert_all_close,
    completion,
    gradients,
    group,
    make_page,
    make_policy,
    make_recipe,
    score_unshared,
    tokens,
    weights,
)
from ocr_rl.algorithms import grpo as grpo_module
from ocr_rl.algorithms.grpo import GrpoLearner, micro_batches
from ocr_rl.config.schema import ModelConfig
from ocr_rl.errors import TrainingStoppedError
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.policy import Policy
from ocr_rl.objectives.policy_losses import StepCounts, grpo_loss
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup
from ocr_rl.rollouts.engine import Refused, Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.training.group_advantages import advantages_of
from ocr_rl.training.micro_batches import common_prefix
from ocr_rl.types import Group


def plain_gradient(policy, recipe, scored):
    """The same from one full forward pass per completion, with nothing shared, and one call of the loss."""
    advantages, _ = advantages_of(scored, recipe.grpo)
    counts = StepCounts(
        sum(len(c.token_ids) for g in scored for c in g.group.completions),
        sum(len(g.group.completions) for g in scored),
        recipe.rollout.max_tokens,
    )
    for group_, row in zip(scored, advantages, strict=True):
        for one, advantage in zip(group_.group.completions, row, strict=True):
            ids, mask = pad_rows([list(one.token_ids)], PAD)
            scores = score_unshared(policy, policy.prompt(group_.group.page), ids, mask, recipe.rollout.temperature)
            old = scores.logprobs.detach()
            grpo_loss(scores.logprobs, old, advantage[None], mask, counts, normalizer=recipe.grpo.normalizer).backward()
    return gradients(policy)


@pytest.mark.parametrize("normalizer", ["token", "sequence", "constant"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_gradient_of_a_step_is_that_of_the_plain_model_one_completion_at_a_time(policy, normalizer, temperature):
    recipe = make_recipe(grpo_normalizer=normalizer, rollout_temperature=temperature)
    scored = scored_groups()
    expected = plain_gradient(policy, recipe, scored)
    assert_all_close(gradient(policy, recipe, scored), expected, 1e-5)
    assert max(g.abs().max() for g in expected.values()) > 1e-3


@pytest.mark.parametrize("normalizer", ["token", "sequence", "constant"])
def test_the_size_of_micro_batches_does_not_change_the_step(policy, normalizer):
    """1 token: each completion alone. 10: two at a time. 10,000: a group at once."""
    recipe = make_recipe(grpo_normalizer=normalizer)
    small = replace(recipe, train=replace(recipe.train, micro_batch_tokens=1))
    assert_all_close(gradient(policy, small), gradient(policy, recipe), 1e-6)
    start = weights(policy)
    results = []
    for size in (10_000, 10, 1):
        policy.model.load_state_dict(start)
        metrics = update(policy, replace(recipe, train=replace(recipe.train, micro_batch_tokens=size)), rate=1e-4)[0]
        results.append((weights(policy), {name: value for name, value in metrics.items() if value is not None}))
    for after, metrics in results[1:]:
        assert_all_close(after, results[0][0], 5e-6)  # Adam divides by tiny gradients: a twentieth of the step
        assert metrics == pytest.approx(results[0][1], rel=1e-4, abs=1e-6)
    assert not torch.equal(results[0][0]["lm_head.weight"], start["lm_head.weight"])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradient_checkpointing_does_not_change_the_step(architecture):
    recipe = make_recipe()
    plain = gradient(make_policy(architecture), recipe)
    assert_all_close(gradient(make_policy(architecture, gradient_checkpointing=True), recipe), plain, 1e-5)


def test_micro_batches_hold_every_completion_once_and_no_more_padded_tokens_than_allowed():
    """Lengths 4, 1, 7, 2 (end tokens included) and at most 6 tokens: [1, 2 -> 2 x 2], [4], [7]."""
    scored = scored_groups()[0]
    batches = micro_batches(scored, torch.tensor([1.0, 2.0, 3.0, 4.0]), make_recipe().grpo, PAD, max_tokens=6)
    assert [tuple(b.ids.shape) for b in batches] == [(2, 2), (1, 4), (1, 7)]
    assert [b.advantages.tolist() for b in batches] == [[2, 4], [1], [3]]
    assert [b.mask.sum(1).tolist() for b in batches] == [[1, 2], [4], [7]]
    assert batches[0].ids.tolist() == [[EOS, PAD], [*tokens("k"), EOS]]


def test_a_step_makes_the_better_completion_likelier(policy):
    page = make_page()
    scored = [ScoredGroup(group(page, "abc", "def"), (), [1.0, 0.0])]
    ids, mask = pad_rows([list(c.token_ids) for c in scored[0].group.completions], PAD)

    def gap():
        with torch.no_grad():
            logprobs = policy.score(policy.read(policy.prompt(page)), ids, mask, 1.0).logprobs.sum(1)
        return (logprobs[0] - logprobs[1]).item()

    before = gap()
    update(policy, make_recipe(), scored, rate=1e-4)
    assert gap() > before


def test_on_policy_the_loss_is_minus_the_mean_advantage_and_nothing_is_clipped(policy):
    """At ratio 1 with `sequence`, each completion's mean loss is -A, and the A of a group sum to zero."""
    metrics = update(policy, make_recipe(grpo_normalizer="sequence"))[0]
    assert metrics["loss"] == pytest.approx(0, abs=1e-6)
    assert metrics["clip_fraction"] == 0
    assert metrics["kl"] is None
    assert metrics["grad_norm"] > 0
    assert 0 < metrics["entropy"] < math.log(24)
    assert metrics["lr"] == 1e-3


# Completions of an engine whose probabilities are not quite the policy's.


def sampled_elsewhere(policy, scored, ratio):
    """The groups as sampled by an engine to which each token was 1 / ratio times as likely."""
    found = []
    for group_ in scored:
        page, completions = group_.group.page, group_.group.completions
        ids, mask = pad_rows([list(c.token_ids) for c in completions], PAD)
        with torch.no_grad():
            logprobs = policy.score(policy.read(policy.prompt(page)), ids, mask, 1.0).logprobs - math.log(ratio)
        sampled = [
            replace(c, sampling_logprobs=row[: len(c.token_ids)].tolist())
            for c, row in zip(completions, logprobs, strict=True)
        ]
        found.append(replace(group_, group=Group(page, sampled)))
    return found


@pytest.mark.parametrize(
    ("correction", "ratio", "factor"),
    [
        ("token", 1.5, 1.5),
        ("token", 3.0, 2.0),
        ("token", 0.25, 0.25),
        ("none", 3.0, 1.0),
        ("token_mask", 1.5, 1.5),
        ("token_mask", 3.0, 0.0),
        ("sequence_mask", 1.5, 1.0),
        ("sequence_mask", 3.0, 0.0),
    ],
)
def test_importance_weights_scale_the_gradient_and_are_logged(policy, correction, ratio, factor):
    """The cap is 2. The ratio of every token is the policy's probability over the engine's."""
    recipe = make_recipe(rollout_correction=correction)
    plain = gradient(policy, recipe)
    scored = sampled_elsewhere(policy, scored_groups(), ratio)
    assert_all_close(gradient(policy, recipe, scored), {name: factor * g for name, g in plain.items()}, 1e-5)
    metrics = update(policy, recipe, scored)[0]
    assert metrics["mismatch/max"] == pytest.approx(abs(math.log(ratio)), rel=1e-4)
    assert metrics["mismatch/kl"] == pytest.approx(ratio - 1 - math.log(ratio), rel=1e-4)
    assert metrics["mismatch/weight"] == pytest.approx(factor, rel=1e-4)
    assert metrics["mismatch/ess"] == pytest.approx(float(factor > 0), rel=1e-4)


def test_with_several_updates_the_weights_compare_the_engine_with_the_policy_before_the_first(policy):
    recipe = make_recipe(grpo_inner_epochs=3)
    metrics = update(policy, recipe, sampled_elsewhere(policy, scored_groups(), 1.5), rate=1e-2)[0]
    assert metrics["mismatch/weight"] == pytest.approx(1.5, rel=1e-4)
    assert metrics["mismatch/max"] == pytest.approx(math.log(1.5), rel=1e-4)


def test_a_batch_without_a_readable_page_stops_the_run(tmp_path, capsys):
    class Unable(TransformersEngine):
        def stream(self, pages, *_):
            yield from (Refused(i, "too many tokens") for i, _ in enumerate(pages))

    with pytest.raises(TrainingStoppedError, match=r"^step 1: the engine could read none of the last 4 pages"):
        run_training(tmp_path, engine=Unable)
    assert "left out: too many tokens" in capsys.readouterr().err


# Groups without spread, truncated completions.


def test_a_group_without_spread_is_skipped_and_changes_only_the_denominator(policy):
    """14 and 18 tokens: if the second group has no spread, the gradient is 14 / 32 of the first group's alone."""
    recipe = make_recipe()
    scored = scored_groups(rewards=[REWARDS[0], [0.5] * 4])
    sizes = [sum(len(c.token_ids) for c in g.group.completions) for g in scored]
    both, alone = gradient(policy, recipe, scored), gradient(policy, recipe, scored[:1])
    share = sizes[0] / sum(sizes)
    assert_all_close(both, {name: g * share for name, g in alone.items()}, 1e-6)


def test_a_skipped_page_is_not_even_read(policy, monkeypatch):
    recipe, read = make_recipe(), []
    original = policy.read
    monkeypatch.setattr(policy, "read", lambda prompt, **options: read.append(prompt) or original(prompt, **options))
    update(policy, recipe, scored_groups(rewards=[[0.5] * 4, REWARDS[1]]))
    assert len(read) == 1


def test_a_batch_without_any_spread_changes_no_weight(policy):
    before = weights(policy)
    metrics = update(policy, make_recipe(train_weight_decay=0.1), scored_groups(rewards=[[0.5] * 4, [1.0] * 4]))[0]
    assert_all_close(weights(policy), before, 0.0)
    assert metrics["grad_norm"] == 0
    assert metrics["loss"] == 0


def test_mask_truncated_leaves_truncated_completions_out_of_the_loss_but_in_their_group(policy):
    """The gradient is that of the finished completions with the advantages of the whole group, over their tokens."""
    recipe = make_recipe(grpo_mask_truncated=True)
    page = make_page()
    texts, finished = ["abc", "defg", "hi", "jkl"], [True, False, True, False]
    mixed = Group(page, [completion(text, ended) for text, ended in zip(texts, finished, strict=True)])
    scored = [ScoredGroup(mixed, (), REWARDS[0])]
    advantages, _ = advantages_of(scored, recipe.grpo)
    ids, mask = pad_rows([[*tokens("abc"), EOS], [*tokens("hi"), EOS]], PAD)
    state = policy.read(policy.prompt(page), grad=True)
    logprobs = policy.score(state, ids, mask, 1.0).logprobs
    (-(advantages[0, [0, 2], None] * logprobs).sum() / 7).backward()
    state.backward()
    expected = gradients(policy)
    assert_all_close(gradient(policy, recipe, scored), expected, 1e-5)


def test_a_common_prefix_is_left_out_of_the_loss_and_of_its_denominator(policy):
    """`ab` begins all three: of 4 + 4 + 3 tokens 5 are left, with advantages 1, -1 and 0."""
    page = make_page(0, text="abc")
    scored = [ScoredGroup(group(page, "abc", "abd", "ab"), (), [1.0, 0.0, 0.5])]
    advantages, every = torch.tensor([[1.0, -1.0, 0.0]]), torch.ones(1, dtype=torch.bool)
    seen = {}
    for masked in (False, True):
        recipe = make_recipe(grpo_mask_common_prefix=masked)
        learner = GrpoLearner(policy, recipe)
        tasks = learner.prepare(scored, advantages, every)
        trained = {row: mask.tolist() for one in tasks[0].batches for row, mask in zip(one.rows, one.mask, strict=True)}
        learner.accumulate(scored, tasks)
        seen[masked] = gradients(policy), trained
    assert [sum(seen[True][1][row]) for row in (0, 1, 2)] == [2, 2, 1]
    assert seen[True][1][0][:2] == [False, False]
    assert_all_close({k: g * 5 for k, g in seen[True][0].items()}, {k: g * 11 for k, g in seen[False][0].items()}, 1e-4)


def test_all_alike_have_all_tokens_in_common():
    page = make_page(0)
    assert common_prefix(group(page, "abc", "abc").completions) == 4
    assert common_prefix(group(page, "abc", "b").completions) == 0
    assert common_prefix(group(page, "ab", "abc", finished=False).completions) == 2


def test_a_batch_of_only_truncated_completions_changes_nothing_under_mask_truncated(policy):
    before = weights(policy)
    metrics = update(policy, make_recipe(grpo_mask_truncated=True), scored_groups(finished=False))[0]
    assert_all_close(weights(policy), before, 0.0)
    assert metrics["loss"] == 0


# Several updates per batch; the reference.


@pytest.mark.parametrize("options", [{"grpo_inner_epochs": 3}, {"grpo_updates_per_batch": 2, "grpo_inner_epochs": 2}])
def test_old_logprobs_are_those_of_the_policy_that_sampled(policy, monkeypatch, options):
    """The ratio is 1 in the first step and changes later, because old_logprobs are fixed."""
    recipe, seen = make_recipe(**options), []

    def spy(logprobs, old_logprobs, *args, **kwargs):
        seen.append((logprobs.detach() - old_logprobs).abs().max().item())
        return grpo_loss(logprobs, old_logprobs, *args, **kwargs)

    monkeypatch.setattr(grpo_module, "grpo_loss", spy)
    update(policy, recipe, rate=1e-2)
    assert seen[0] == pytest.approx(0, abs=1e-6)
    assert min(seen[2:]) > 1e-3
    assert len(seen) == (6 if "grpo_updates_per_batch" not in options else 4)


def test_inner_epochs_clip_and_log_it(policy):
    metrics = update(policy, make_recipe(grpo_inner_epochs=4), rate=3e-2)[0]
    assert 0 < metrics["clip_fraction"] < 1


def test_updates_per_batch_are_separate_optimiser_steps_on_part_of_the_pages(policy, monkeypatch):
    """If the weights do not change, each of two updates has the gradient of one page with its own denominator."""
    scored, seen = scored_groups(), []
    with monkeypatch.context() as patch:
        patch.setattr(grpo_module, "clipped_step", lambda *_: seen.append(gradients(policy)) or 0.0)
        update(policy, make_recipe(grpo_updates_per_batch=2), scored)
    assert len(seen) == 2
    for one, found in zip(scored, seen, strict=True):
        assert_all_close(found, gradient(policy, make_recipe(), [one]), 1e-6)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_the_kl_to_the_initial_policy_starts_at_zero_and_grows(policy, estimator):
    first, *later = update(policy, make_recipe(grpo_beta=0.01, grpo_kl=estimator), rate=1e-2, steps=3)
    assert first["kl"] == pytest.approx(0, abs=1e-6)
    assert all(abs(m["kl"]) > 1e-3 for m in later)
    assert estimator == "k1" or all(m["kl"] > 0 for m in later)


def test_with_lora_the_adapter_that_the_run_began_with_is_the_reference(saved, tmp_path):
    """A fresh one, which is the base model, and then one that has learned."""
    torch.manual_seed(0)
    for config in (ModelConfig(path=str(saved), lora_rank=4), ModelConfig(path=str(tmp_path / "adapter"))):
        policy = Policy.load(config)
        first, *later = update(policy, make_recipe(grpo_beta=0.01), rate=1e-1, steps=3)
        assert first["kl"] == pytest.approx(0, abs=1e-6)
        assert later[-1]["kl"] > 1e-4
        policy.save(tmp_path / "adapter")


def test_without_a_kl_term_no_reference_is_kept(policy):
    assert GrpoLearner(policy, make_recipe()).reference is None
    assert GrpoLearner(policy, make_recipe(grpo_beta=0.1)).reference is not None


def test_a_large_beta_keeps_the_policy_near_its_start(policy):
    start = weights(policy)
    free = update(policy, make_recipe(grpo_beta=1e-6), rate=1e-3, steps=20)[-1]["kl"]
    policy.model.load_state_dict(start)
    held = update(policy, make_recipe(grpo_beta=10.0), rate=1e-3, steps=20)[-1]["kl"]
    assert 0 < held < 0.5 * free


def test_under_a_kl_term_a_group_without_spread_still_has_a_gradient(policy):
    recipe = make_recipe(grpo_beta=1.0)
    scored = scored_groups(rewards=[[0.5] * 4, [0.5] * 4])
    learner = GrpoLearner(policy, recipe)
    with torch.no_grad():
        policy.head.weight.mul_(1.5)  # away from the reference
    learner.accumulate(scored, learner.prepare(scored, *advantages_of(scored, recipe.grpo)))
    assert any(g.any() for g in gradients(policy).values())


def test_an_update_of_a_policy_that_computes_nan_stops(policy):
    with torch.no_grad():
        policy.head.weight[-1, 0] = math.nan
    before = weights(policy)
    with pytest.raises(TrainingStoppedError):
        update(policy, make_recipe())
    assert all(torch.equal(a.nan_to_num(), before[n].nan_to_num()) for n, a in weights(policy).items())


# Whole runs.

BANDIT = {
    "train_seed": 1,
    "train_steps": 30,
    "train_learning_rate": 1e-2,
    "rollout_group_size": 64,
    "rollout_max_tokens": 5,
    "rollout_pages_per_step": 1,
}


def test_training_raises_the_reward(tmp_path):
    """A random policy learns to write "ab" for every page: the reward goes from about 0.1 to about 1."""
    run, policy = run_training(tmp_path, **BANDIT)
    rewards = [row["reward"] for row in metrics_of(run)]
    assert sum(rewards[:3]) / 3 < 0.3
    assert sum(rewards[-3:]) / 3 > 0.9
    written = TransformersEngine(policy).generate([make_page(0)], Sampling(1, 0.0, 5), seed=0)[0].completions[0]
    assert written.text == "ab"
    assert written.finished


def test_permuted_rewards_teach_nothing(tmp_path):
    run, _ = run_training(tmp_path, **BANDIT, reward_permute=True)
    assert max(row["reward"] for row in metrics_of(run)) < 0.4


def test_permuted_rewards_are_the_group_s_own_in_another_order():
    pages = [make_page(text="abcd")]
    groups = [group(pages[0], "a", "ab", "abc", "abcd")]
    plain = RewardFunction(RUBRIC, pages).score_groups(groups)[0]
    permuted = RewardFunction(RUBRIC, pages).score_groups(groups, Random(1))[0]
    assert sorted(permuted.rewards) == sorted(plain.rewards)
    assert permuted.rewards != plain.rewards
    assert permuted.scores == plain.scores
    assert plain.rewards == [score.reward for score in plain.scores]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_lora_run_saves_its_adapter(tmp_path, saved, checkpointing):
    config = ModelConfig(path=str(saved), lora_rank=4, gradient_checkpointing=checkpointing)
    run, _ = run_training(tmp_path, policy=Policy.load(config), grpo_beta=0.1, train_steps=2)
    assert (run.checkpoints()[-1] / "adapter_model.safetensors").is_file()
    assert metrics_of(run)[1]["kl"] > 0
